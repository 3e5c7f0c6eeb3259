-- +goose Up
ALTER TABLE cards ADD COLUMN editor TEXT NOT NULL DEFAULT ''; -- user id: whose edit was the last
UPDATE cards SET editor = author;

-- +goose Down
ALTER TABLE cards DROP COLUMN editor;
