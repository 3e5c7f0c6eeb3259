package identity

import (
	"database/sql"
	"strconv"
	"testing"
	"time"
)

func (h *harness) count(t *testing.T, table string) int {
	t.Helper()
	var n int
	_, err := one(h.db.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM `+table), &n)
	noError(t, err)
	return n
}

// Expired rows go by themselves, and nothing else.
func TestClean(t *testing.T) {
	eachDatabase(t, func(c *Config) { c.CleanInterval = 12 * time.Hour }, func(t *testing.T, h *harness) {
		ctx := t.Context()
		ann := h.user("ann@example.com")
		_, _, err := h.PasswordResetCode(ctx, ann.ID)
		noError(t, err)
		_, err = h.SignIn(ctx, SignInRequest{Email: "nobody@example.com"}, home)
		if err == nil {
			t.Fatal("signed in")
		}
		gone := h.signIn("ann@example.com")
		noError(t, h.SignOut(ctx, gone.Session.ID))
		_, err = h.TOTPEnable(ctx, ann.ID)
		noError(t, err)
		l := h.signIn("ann@example.com")
		want := map[string]int{"codes": 1, "attempts": 3, "sessions": 2, "revocations": 1, "users": 1, "signing_keys": 1}
		check := func(when string) {
			t.Helper()
			for table, n := range want {
				if got := h.count(t, table); got != n {
					t.Errorf("%s: %d %s, want %d", when, got, table, n)
				}
			}
		}
		check("at first")
		after(12*time.Hour + time.Minute)
		h.wait()
		want["codes"], want["attempts"] = 0, 0
		check("after half a day")
		var pending []byte
		_, err = one(h.db.read.QueryRowContext(ctx, `SELECT totp_pending FROM users`), &pending)
		if err != nil || pending != nil {
			t.Errorf("a pending second factor is left: %v", err)
		}
		after(24 * time.Hour)
		h.wait()
		want["revocations"] = 0
		check("after a day and a half")
		after(10 * 24 * time.Hour)
		_, err = h.Refresh(ctx, l.RefreshToken, home)
		noError(t, err)
		after(4 * 24 * time.Hour)
		h.wait()
		want["sessions"] = 1
		check("after two weeks")
		after(14 * 24 * time.Hour)
		h.wait()
		want["sessions"] = 0
		check("after a month")
	})
}

// More than one batch goes in one cleaning.
func TestCleanBatches(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		const n = 2*cleanBatch + 1
		noError(t, h.db.tx(ctx, func(tx *sql.Tx) error {
			for i := range n {
				if _, err := addCode(ctx, tx, codeInvite, strconv.Itoa(i), "", ""); err != nil {
					return err
				}
			}
			return nil
		}))
		after(codeInvite.lifetime() - time.Millisecond)
		noError(t, h.cleanOnce(ctx))
		if got := h.count(t, "codes"); got != n {
			t.Errorf("%d left before their time", got)
		}
		after(time.Millisecond)
		noError(t, h.cleanOnce(ctx))
		if got := h.count(t, "codes"); got != 0 {
			t.Errorf("%d left", got)
		}
	})
}
