// The command golden checks the vectors of a folder, ../golden if none is given, with protobuf-go and protovalidate-go.
// It prints a line for the messages and one for the rules: library, what was checked, codecs and result, with tabs
// between them.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "example.com/gitpod-secrets/interop/go/gen/gitpod/v1" // registers the messages
)

// vector is an entry of either file. The README of the folder says what it has.
type vector struct {
	Name        string                `json:"name"`
	Type        protoreflect.FullName `json:"type"`
	JSON        json.RawMessage       `json:"json"`
	Binary      string                `json:"binary"`
	OtherJSON   []json.RawMessage     `json:"other_json"`
	OtherBinary []string              `json:"other_binary"`
	Violations  []string              `json:"violations"`
}

func main() {
	folder := "../golden"
	if len(os.Args) > 1 {
		folder = os.Args[1]
	}
	fmt.Printf("protobuf-go\tgolden messages\tbinary+json\t%s\n", check(filepath.Join(folder, "messages.json"), checkMessage))
	fmt.Printf("protovalidate-go\tgolden rules\tjson\t%s\n", check(filepath.Join(folder, "rules.json"), checkRules))
}

// check returns "ok", or what differs in the first vector that does, and how many do.
func check(file string, check func(vector) error) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	var vectors []vector
	if err := json.Unmarshal(text, &vectors); err != nil {
		return err.Error()
	}
	var failures []string
	for _, each := range vectors {
		if err := check(each); err != nil {
			failures = append(failures, fmt.Sprintf("%s: %s", each.Name, err))
		}
	}
	if len(vectors) == 0 {
		return "no vectors"
	}
	if len(failures) > 0 {
		return fmt.Sprintf("%d of %d differ: %s", len(failures), len(vectors), failures[0])
	}
	return "ok"
}

// checkMessage reads and writes a message in each of its forms.
func checkMessage(each vector) error {
	read, err := fromBinary(each.Type, each.Binary)
	if err != nil {
		return err
	}
	if err := hasJSON(read, each.JSON); err != nil {
		return fmt.Errorf("binary: %w", err)
	}
	want, err := proto.Marshal(read)
	if err != nil {
		return err
	}
	for _, form := range append([]json.RawMessage{each.JSON}, each.OtherJSON...) {
		read, err := fromJSON(each.Type, form)
		if err != nil {
			return err
		}
		if got, err := proto.Marshal(read); err != nil || !bytes.Equal(got, want) {
			return errors.New("json: has another binary form")
		}
	}
	for _, form := range each.OtherBinary {
		read, err := fromBinary(each.Type, form)
		if err != nil {
			return err
		}
		if err := hasJSON(read, each.JSON); err != nil {
			return fmt.Errorf("other_binary: %w", err)
		}
	}
	return nil
}

// checkRules reads an input and looks for the rules that it breaks.
func checkRules(each vector) error {
	read, err := fromJSON(each.Type, each.JSON)
	if err != nil {
		return err
	}
	var found []string
	var invalid *protovalidate.ValidationError
	if err := protovalidate.Validate(read); errors.As(err, &invalid) {
		for _, violation := range invalid.ToProto().GetViolations() {
			found = append(found, protovalidate.FieldPathString(violation.GetField())+" "+violation.GetRuleId())
		}
	} else if err != nil {
		return err
	}
	slices.Sort(found)
	if !slices.Equal(found, each.Violations) {
		return fmt.Errorf("breaks [%s]", strings.Join(found, ", "))
	}
	return nil
}

func fromBinary(name protoreflect.FullName, form string) (proto.Message, error) {
	binary, err := base64.StdEncoding.DecodeString(form)
	if err != nil {
		return nil, err
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		return nil, err
	}
	read := kind.New().Interface()
	return read, proto.Unmarshal(binary, read)
}

func fromJSON(name protoreflect.FullName, form []byte) (proto.Message, error) {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		return nil, err
	}
	read := kind.New().Interface()
	return read, protojson.Unmarshal(form, read)
}

// hasJSON compares the JSON of a message by value.
func hasJSON(read proto.Message, want []byte) error {
	text, err := protojson.Marshal(read)
	if err != nil {
		return err
	}
	var got, wanted any
	if err := errors.Join(json.Unmarshal(text, &got), json.Unmarshal(want, &wanted)); err != nil {
		return err
	}
	if !reflect.DeepEqual(got, wanted) {
		return errors.New("has another JSON form")
	}
	return nil
}
