package main

import (
	"fmt"
	"reflect"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"github.com/holdfast-dev/holdfast/identity"
)

type checkCmd struct{ serveFlags }

// Run prints what serve would run with.
func (c *checkCmd) Run(e *environment, parsed *kong.Context) error {
	p, wrong := c.plan(e)
	table := tabwriter.NewWriter(e.stdout, 0, 8, 2, ' ', 0)
	for _, flag := range parsed.Selected().Flags {
		value, origin := effective(flag), e.flags.origin[flag]
		if origin == "" {
			value, origin = c.otherwise(e, flag, value, p)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", keyName(flag.Name), value, origin)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if wrong == nil {
		_, err := fmt.Fprintln(e.stdout, "\nok")
		return err
	}
	return wrong
}

// otherwise tells the value of a flag that was not given: its default, or what
// stands in for it.
func (c *checkCmd) otherwise(e *environment, flag *kong.Flag, value string, p plan) (string, string) {
	switch flag.Name {
	case "jwt-secret":
		switch {
		case p.makeSecret:
			return "[redacted]", p.secret + " (kept there by --dev)"
		case strings.HasPrefix(p.secret, "$"):
			return "[redacted]", p.secret
		}
	case "issuer":
		if c.Issuer != "" {
			return value, "$JWT_ISSUER"
		}
	case "audience":
		if len(c.Audience) > 0 {
			return value, "$JWT_AUDIENCE"
		}
	case "default-rooms":
		if c.Dev {
			return "**", "--dev"
		}
		if p.accounts != nil && !p.elsewhere() {
			return "**", "--accounts"
		}
	case "accounts":
		if p.accounts != nil {
			return "true", "--dev"
		}
	case "sign-up":
		if p.accounts != nil && c.Dev {
			return string(p.accounts.SignUp), "--dev"
		}
		return string(identity.SignUpClosed), "default"
	case "admin-addr":
		return defaultAdminAddr, "default"
	case "otlp-endpoint":
		for _, name := range [...]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
			if v := e.getenv(name); v != "" {
				return v, "$" + name
			}
		}
	}
	return value, "default"
}

// effective is a flag's value for people; a secret is only said to be there.
func effective(flag *kong.Flag) string {
	v := flag.Target
	empty := v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
	switch {
	case empty && v.Kind() != reflect.Bool:
		return "-"
	case flag.Tag.Has("secret"):
		if v.Kind() == reflect.Slice && v.Len() > 1 {
			return fmt.Sprintf("[redacted] (%d)", v.Len())
		}
		return "[redacted]"
	case v.Kind() == reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = fmt.Sprint(v.Index(i).Interface())
		}
		return strings.Join(items, ",")
	}
	return fmt.Sprint(v.Interface())
}
