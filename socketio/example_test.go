package socketio_test

import (
	"fmt"

	"github.com/holdfast-dev/holdfast/socketio"
)

func ExampleDecoder() {
	var d socketio.Decoder // one a connection
	p, ok, err := d.Text([]byte(`2/admin,12["todo:create",{"title":"Write examples"}]`))
	if err != nil || !ok {
		fmt.Println(ok, err)
		return
	}
	name, args, err := p.Event()
	if err != nil {
		fmt.Println(err)
		return
	}
	var in struct{ Title string }
	if err := args.Decode(0, &in); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Namespace, p.ID, name, in.Title)

	ack, err := socketio.NewArgs(map[string]bool{"ok": true})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := socketio.Packet{Type: socketio.Ack, Namespace: p.Namespace, ID: p.ID, HasID: true, Data: ack.AppendArray(nil)}
	fmt.Printf("%s\n", answer.Append(nil))
	// Output:
	// /admin 12 todo:create Write examples
	// 3/admin,12[{"ok":true}]
}

// Attachments follow the text as binary messages.
func ExampleDecoder_Binary() {
	var d socketio.Decoder
	_, ok, err := d.Text([]byte(`51-["upload",{"name":"a.txt","body":{"_placeholder":true,"num":0}}]`))
	fmt.Println(ok, err)
	p, ok, err := d.Binary([]byte("hello"))
	fmt.Println(ok, err)

	_, args, err := p.Event()
	if err != nil {
		fmt.Println(err)
		return
	}
	var in struct {
		Name string
		Body socketio.Binary
	}
	if err := args.Decode(0, &in); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s: %s\n", in.Name, in.Body)
	// Output:
	// false <nil>
	// true <nil>
	// a.txt: hello
}

func ExampleNewArgs() {
	type file struct {
		Name string          `json:"name"`
		Body socketio.Binary `json:"body"`
	}
	args, err := socketio.NewArgs(file{"a.txt", socketio.Binary("hello")}, []byte("world"))
	if err != nil {
		fmt.Println(err)
		return
	}
	p := socketio.Packet{Type: socketio.Event, Namespace: "/", Data: args.AppendEvent(nil, "upload"), Attachments: args.Attachments}
	fmt.Printf("%s\n", p.Append(nil))
	fmt.Printf("%s\n", p.Attachments)
	// Output:
	// 52-["upload",{"name":"a.txt","body":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1}]
	// [hello world]
}

// Transports that carry JSON alone show bytes as base64.
func ExampleArgs_Portable() {
	args, err := socketio.NewArgs("a.txt", []byte("hello"))
	if err != nil {
		fmt.Println(err)
		return
	}
	portable, err := args.Portable()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", portable.AppendArray(nil))
	// Output:
	// ["a.txt",{"$base64":"aGVsbG8="}]
}
