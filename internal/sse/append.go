package sse

import "strconv"

// AppendID appends the line that sets the last event id, which stays until the
// next one; an empty id clears it. A NUL or a line break, which no id can
// have, ends it.
func AppendID(dst []byte, id string) []byte {
	return appendField(dst, "id: ", id)
}

// AppendName appends the line that names the event; without one it is called
// "message". A line break, which no name can have, ends it.
func AppendName(dst []byte, name string) []byte {
	return appendField(dst, "event: ", name)
}

// AppendData appends the lines of the event's data, one for each of its own.
// Its line breaks, whichever they are, arrive as LF.
func AppendData(dst, data []byte) []byte {
	dst = append(dst, "data: "...)
	for i := 0; i < len(data); i++ {
		switch c := data[i]; c {
		case '\r':
			if i+1 < len(data) && data[i+1] == '\n' {
				i++
			}
			fallthrough
		case '\n':
			dst = append(dst, "\ndata: "...)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '\n')
}

// AppendRetry appends the line that says after how many milliseconds the
// client connects again when the stream has ended.
func AppendRetry(dst []byte, milliseconds uint) []byte {
	dst = strconv.AppendUint(append(dst, "retry: "...), uint64(milliseconds), 10)
	return append(dst, '\n')
}

// AppendEnd appends the empty line that ends an event and has it dispatched,
// if it has data.
func AppendEnd(dst []byte) []byte { return append(dst, '\n') }

// AppendComment appends a line that readers skip, and the empty line after it.
// A line break ends the comment.
func AppendComment(dst []byte, text string) []byte {
	return append(appendField(dst, ": ", text), '\n')
}

// appendField appends one line, up to what would break it.
func appendField(dst []byte, key, value string) []byte {
	dst = append(dst, key...)
	for i := range len(value) {
		switch value[i] {
		case '\r', '\n', 0:
			return append(append(dst, value[:i]...), '\n')
		}
	}
	return append(append(dst, value...), '\n')
}
