package socketio

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// wantsString reports whether the Go value of type t has a plain []byte where
// path leads, which encoding/json fills from base64 text. Where it has
// anything else it wants an object.
func wantsString(t reflect.Type, path []step) bool {
	for _, s := range path {
		if t = into(t, s); t == nil {
			return false
		}
	}
	t, own := target(t)
	return !own && t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 &&
		!reflect.PointerTo(t.Elem()).Implements(unmarshaler) && !reflect.PointerTo(t.Elem()).Implements(textUnmarshaler)
}

var (
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// target follows pointers, and reports whether a type on the way decodes
// itself.
func target(t reflect.Type) (elem reflect.Type, own bool) {
	// A pointer type can contain itself; nobody writes so many stars.
	for range 16 {
		if t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler) ||
			t.Implements(textUnmarshaler) || reflect.PointerTo(t).Implements(textUnmarshaler) {
			return t, true
		}
		if t.Kind() != reflect.Pointer {
			return t, false
		}
		t = t.Elem()
	}
	return t, true
}

// into returns the type one step inside t, nil if it is not known.
func into(t reflect.Type, s step) reflect.Type {
	t, own := target(t)
	if own {
		return nil
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		if s.key == nil {
			return t.Elem()
		}
	case reflect.Map:
		if s.key != nil {
			return t.Elem()
		}
	case reflect.Struct:
		if s.key != nil {
			return member(t, string(jsonscan.Unquote(s.key)), 0)
		}
	}
	return nil
}

// member returns the type of the field that encoding/json fills from the
// member key of an object: an exact name before one that differs in case, a
// struct's own before an embedded one's. nil if there is none.
func member(t reflect.Type, key string, embedded int) reflect.Type {
	if embedded > 8 {
		return nil
	}
	var folded reflect.Type
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		if tag == "-" || !f.IsExported() || f.Anonymous && name == "" && inlined(f.Type) != nil {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if name == key {
			return f.Type
		}
		if folded == nil && strings.EqualFold(name, key) {
			folded = f.Type
		}
	}
	if folded != nil {
		return folded
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); !f.Anonymous || name != "" {
			continue
		}
		if inner := inlined(f.Type); inner != nil {
			if found := member(inner, key, embedded+1); found != nil {
				return found
			}
		}
	}
	return nil
}

// inlined returns the struct whose fields an embedded field of type t adds to
// its holder, nil if it is no struct.
func inlined(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	return t
}

// collectBinary returns the Binary values inside v, nil ones left out, each as
// often as there are ways to reach it through exported and other fields.
func collectBinary(v any) []Binary {
	c := collector{}
	c.value(reflect.ValueOf(v), 0)
	return c.found
}

type collector struct{ found []Binary }

// collectDepth bounds the search: JSON deeper than MaxDepth is refused
// anyway, and a value may be a ring where encoding/json does not look.
const collectDepth = 4 * MaxDepth

func (c *collector) value(v reflect.Value, depth int) {
	if !v.IsValid() || depth > collectDepth || len(c.found) > MaxAttachments {
		return
	}
	if v.Type() == reflect.TypeFor[Binary]() {
		if !v.IsNil() {
			c.found = append(c.found, v.Bytes())
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		c.value(v.Elem(), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			c.value(v.Field(i), depth+1)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			c.value(it.Value(), depth+1)
		}
	case reflect.Slice, reflect.Array:
		switch v.Type().Elem().Kind() {
		case reflect.Interface, reflect.Pointer, reflect.Struct, reflect.Map, reflect.Slice, reflect.Array:
			for i := range v.Len() {
				c.value(v.Index(i), depth+1)
			}
		}
	}
}
