package main

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/server"
)

// refuse answers with an error in the form of the server's own calls. What is
// none of the codes is logged, and shows nothing.
func refuse(log *slog.Logger, w http.ResponseWriter, r *http.Request, err error) {
	server.WriteError(w, r, err)
	if holdfast.CodeOf(err) == holdfast.Internal && r.Context().Err() == nil {
		log.Error("a call failed", "method", r.Method, "route", r.Pattern, "requestId", w.Header().Get("X-Request-Id"), "err", err)
	}
}

// answer writes JSON. Nothing of it may be cached: it is one user's, and
// changes.
func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // can't be: all bodies are plain data
		status, text = http.StatusInternalServerError, []byte(`{"error":"Internal error","code":"INTERNAL","requestId":""}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a peer that is gone needs no answer
}

// decode reads a body, and the write's id in it or in Idempotency-Key.
func decode(w http.ResponseWriter, r *http.Request, in any) (id string, err error) {
	id = r.Header.Get("Idempotency-Key")
	if r.Method == http.MethodDelete {
		return id, nil // has no body
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return "", holdfast.Errorf(holdfast.InvalidArgument, "The body must be JSON, and Content-Type say so")
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return "", holdfast.Errorf(holdfast.MessageTooLarge, "A body has at most %d bytes", maxBody)
	}
	if err != nil {
		return "", holdfast.Errorf(holdfast.InvalidArgument, "The body could not be read")
	}
	var named struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(text, in) != nil || json.Unmarshal(text, &named) != nil {
		return "", holdfast.Errorf(holdfast.InvalidArgument, "The body is not the JSON that this call takes")
	}
	switch {
	case id == "":
		id = named.ID
	case named.ID != "" && named.ID != id:
		return "", holdfast.Errorf(holdfast.InvalidArgument, "The body's id and Idempotency-Key differ")
	}
	return id, nil
}

// version reads the query's version; 0 for none.
func version(r *http.Request) (int64, error) {
	text := r.URL.Query().Get("version")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, holdfast.Errorf(holdfast.InvalidArgument, "version is a number from 1")
	}
	return n, nil
}
