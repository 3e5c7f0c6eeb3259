package identity

import (
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"
)

// The schema goes up, down and up again, and both databases have the same one.
func TestMigrations(t *testing.T) {
	schemas := make(map[string][]string)
	for _, kind := range []string{"sqlite", "postgres"} {
		cfg := Config{Dir: t.TempDir()}
		if kind == "postgres" {
			cfg.Database = newPostgres(t)
		}
		db, err := openDatabase(cfg, nil)
		noError(t, err)
		defer func() { noError(t, db.close()) }()
		for range 2 {
			noError(t, db.migrate(t.Context())) // twice: nothing to do
		}
		provider, err := db.migrator()
		noError(t, err)
		_, err = provider.DownTo(t.Context(), 0)
		noError(t, err)
		noError(t, db.migrate(t.Context()))
		query := `SELECT m.name || '.' || c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'`
		indexes := `SELECT name FROM sqlite_master WHERE type = 'index' AND name NOT LIKE 'sqlite_%'`
		if db.postgres {
			query = `SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'`
			indexes = `SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%_pkey' AND indexname NOT LIKE '%_key'`
		}
		for _, q := range []string{query, indexes} {
			names, err := all(t.Context(), db.read, scanString, q)
			noError(t, err)
			for _, name := range names {
				if !strings.HasPrefix(name, "holdfast_migrations") {
					schemas[kind] = append(schemas[kind], name)
				}
			}
		}
		slices.Sort(schemas[kind])
	}
	if len(schemas["sqlite"]) < 50 || !slices.Equal(schemas["sqlite"], schemas["postgres"]) {
		t.Errorf("not the same:\n%q\n%q", schemas["sqlite"], schemas["postgres"])
	}
}

// The two folders hold the same files, with the same text but for types.
func TestMigrationFiles(t *testing.T) {
	texts := make(map[string]map[string]string)
	for _, kind := range []string{"sqlite", "postgres"} {
		texts[kind] = make(map[string]string)
		files, err := fs.ReadDir(migrations, "migrations/"+kind)
		noError(t, err)
		for _, f := range files {
			text, err := fs.ReadFile(migrations, "migrations/"+kind+"/"+f.Name())
			noError(t, err)
			plain := strings.NewReplacer(" STRICT", "", "BIGINT", "INTEGER", "BYTEA", "BLOB").Replace(string(text))
			texts[kind][f.Name()] = regexp.MustCompile(`[ \t]+`).ReplaceAllString(plain, " ")
			if _, err := goose.NumericComponent(f.Name()); err != nil {
				t.Error(err)
			}
		}
	}
	if !maps.Equal(texts["sqlite"], texts["postgres"]) {
		t.Error("the migrations differ in more than types")
	}
}
