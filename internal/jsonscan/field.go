package jsonscan

import "encoding/json"

// Field returns the value of a key of the object that data is, without white
// space around it; nil if there is none, or data is no object. It aliases data
// and is as good as data is. Of several keys of the name the first counts. It
// allocates nothing.
func Field(data []byte, name string) json.RawMessage {
	i := spaceAt(data, 0)
	if i >= len(data) || data[i] != '{' {
		return nil
	}
	for {
		i = spaceAt(data, i+1) // after the brace, or a comma
		if i >= len(data) || data[i] != '"' {
			return nil
		}
		end := skipString(data, i)
		if end < 0 {
			return nil
		}
		key := data[i:end]
		if i = spaceAt(data, end); i >= len(data) || data[i] != ':' {
			return nil
		}
		i = spaceAt(data, i+1)
		if end = Skip(data, i); end <= i {
			return nil
		}
		if KeyIs(key, name) {
			return data[i:end:end]
		}
		if i = spaceAt(data, end); i >= len(data) || data[i] != ',' {
			return nil
		}
	}
}
