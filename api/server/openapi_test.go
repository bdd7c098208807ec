package server

import (
	"encoding"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/catenet/catenet"
	"github.com/catenet/catenet/api"
)

// described are the types whose schemas the document has.
var described = []any{
	api.Error{}, api.NetworkCreated{}, api.NetworkRemoved{}, api.Pruned{}, api.ConnectRequest{}, api.DisconnectRequest{}, api.WaitReply{}, api.LogLine{},
	catenet.Version{}, catenet.Info{}, catenet.DriverOptions{}, catenet.FirewallInfo{}, catenet.Obstacle{},
	catenet.NetworkSpec{}, catenet.NetworkUpdate{}, catenet.Pool{}, catenet.Route{}, catenet.Network{}, catenet.PoolUse{}, catenet.NetworkStatus{}, catenet.AddressOwner{}, catenet.Part{}, catenet.Peer{}, catenet.Traffic{},
	catenet.EndpointSpec{}, catenet.Bandwidth{}, catenet.Rate{}, catenet.Link{}, catenet.Endpoint{}, catenet.Parked{},
	catenet.SandboxSpec{}, catenet.SandboxUpdate{}, catenet.PortSpec{}, catenet.PortBinding{}, catenet.DNSConfig{}, catenet.HostEntry{}, catenet.Process{},
	catenet.Sandbox{}, catenet.SandboxStatus{}, catenet.ExecSpec{}, catenet.Event{},
}

type object = map[string]any

func document(t *testing.T) (object, string) {
	t.Helper()
	b, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc object
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	return doc, string(b)
}

func at(v any, path ...string) any {
	for _, p := range path {
		o, _ := v.(object)
		v = o[p]
	}
	return v
}

// TestRoutesAreDescribed: every route with its parameters is in the document,
// and the document has no other.
func TestRoutesAreDescribed(t *testing.T) {
	doc, _ := document(t)
	want, got := map[string][]string{}, map[string][]string{}
	for _, r := range New(nil, slog.New(slog.DiscardHandler)).routes() {
		params := slices.Clone(r.query)
		for i, name := range params {
			if slices.Contains(pipedQuery, name) { // of several routes
				params[i] = "#/components/parameters/" + name
			}
		}
		if strings.Contains(r.path, "{ref}") {
			params = append(params, "#/components/parameters/ref")
		}
		slices.Sort(params)
		want[r.method+" "+r.path] = params
	}
	ids := map[any]bool{}
	for path, item := range at(doc, "paths").(object) {
		for method, op := range item.(object) {
			if method == "parameters" {
				continue
			}
			key := strings.ToUpper(method) + " " + path
			got[key] = append(params(at(item, "parameters")), params(at(op, "parameters"))...)
			slices.Sort(got[key])
			if id := at(op, "operationId"); id == nil || ids[id] {
				t.Errorf("%s has the operationId %v", key, id)
			} else {
				ids[id] = true
			}
			if at(op, "responses", "default", "$ref") != "#/components/responses/Error" {
				t.Errorf("%s does not say how it fails", key)
			}
			if at(op, "summary") == nil {
				t.Errorf("%s has no summary", key)
			}
		}
	}
	if d := cmp.Diff(want, got, cmp.Transformer("none", func(s []string) string { return strings.Join(s, " ") })); d != "" {
		t.Error("routes (-) and document (+) differ:\n" + d)
	}
}

func params(list any) (names []string) {
	l, _ := list.([]any)
	for _, p := range l {
		if ref, ok := at(p, "$ref").(string); ok {
			names = append(names, ref)
		} else {
			names = append(names, at(p, "name").(string))
		}
	}
	return names
}

// TestSchemasAreTheTypes: the properties of every schema, their types, and
// which are required, are those of the Go type of its name.
func TestSchemasAreTheTypes(t *testing.T) {
	doc, _ := document(t)
	schemas := at(doc, "components", "schemas").(object)
	left := maps.Clone(schemas)
	for _, v := range described {
		typ := reflect.TypeOf(v)
		delete(left, typ.Name())
		wantProps, wantReq := object{}, []string{}
		fields(typ, wantProps, &wantReq)
		gotProps, gotReq := object{}, []string{}
		properties(schemas, typ.Name(), gotProps, &gotReq)
		slices.Sort(wantReq)
		slices.Sort(gotReq)
		if d := cmp.Diff(wantProps, gotProps); d != "" {
			t.Errorf("%s: type (-) and schema (+) differ:\n%s", typ.Name(), d)
		}
		if d := cmp.Diff(wantReq, gotReq); d != "" {
			t.Errorf("%s: required by type (-) and schema (+) differ:\n%s", typ.Name(), d)
		}
	}
	for name := range left {
		t.Errorf("schema %s is of no type", name)
	}
}

// fields tells the JSON fields of a struct in the words of a schema. Required
// is what is always written.
func fields(typ reflect.Type, props object, required *[]string) {
	for f := range typ.Fields() {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if f.Anonymous && name == "" {
			fields(f.Type, props, required)
			continue
		}
		props[name] = shape(f.Type)
		if !strings.Contains(opts, "omit") {
			*required = append(*required, name)
		}
	}
}

var textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()

func shape(typ reflect.Type) string {
	switch {
	case typ.Kind() == reflect.Pointer:
		return shape(typ.Elem())
	case typ == reflect.TypeFor[time.Time](), typ == reflect.TypeFor[[]byte](), typ.Implements(textMarshaler):
		return "string"
	}
	switch typ.Kind() {
	case reflect.Struct:
		return typ.Name()
	case reflect.Slice:
		return "array of " + shape(typ.Elem())
	case reflect.Map:
		return "map of " + shape(typ.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Uint16, reflect.Uint64:
		return "integer"
	}
	return fmt.Sprintf("a %s, which a schema has no word for", typ)
}

// properties tells the same of a schema.
func properties(schemas object, name string, props object, required *[]string) {
	s := schemas[name]
	parts, _ := at(s, "allOf").([]any)
	for _, p := range parts {
		properties(schemas, refName(at(p, "$ref")), props, required)
	}
	own, _ := at(s, "properties").(object)
	for k, v := range own {
		props[k] = schemaShape(v)
	}
	req, _ := at(s, "required").([]any)
	for _, r := range req {
		*required = append(*required, r.(string))
	}
}

func refName(ref any) string {
	s, _ := ref.(string)
	return strings.TrimPrefix(s, "#/components/schemas/")
}

func schemaShape(v any) string {
	if ref := at(v, "$ref"); ref != nil {
		return refName(ref)
	}
	switch typ := at(v, "type"); {
	case typ == "array":
		return "array of " + schemaShape(at(v, "items"))
	case typ == "object" && at(v, "additionalProperties") != nil:
		return "map of " + schemaShape(at(v, "additionalProperties"))
	default:
		return fmt.Sprint(typ)
	}
}

// TestReferences: everything referred to exists, and everything there is is
// referred to.
func TestReferences(t *testing.T) {
	doc, text := document(t)
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`\$ref: '#/([^']*)'`).FindAllStringSubmatch(text, -1) {
		used[m[1]] = true
		if at(doc, strings.Split(m[1], "/")...) == nil {
			t.Errorf("there is no %s", m[1])
		}
	}
	for kind, parts := range at(doc, "components").(object) {
		for name := range parts.(object) {
			if !used["components/"+kind+"/"+name] {
				t.Errorf("nothing refers to %s %s", kind, name)
			}
		}
	}
}

// TestKindsAreDescribed: the words of kinds and the table of statuses are the
// code's.
func TestKindsAreDescribed(t *testing.T) {
	doc, _ := document(t)
	var words []any
	about := at(doc, "info", "description").(string)
	for k := catenet.KindInternal; k <= catenet.KindUnavailable; k++ {
		words = append(words, k.String())
		row := regexp.MustCompile(fmt.Sprintf(`(?m)^\| %s \| %d\b`, k, api.Status(k)))
		if !row.MatchString(about) {
			t.Errorf("the table of statuses lacks %s with %d", k, api.Status(k))
		}
	}
	if d := cmp.Diff(words, at(doc, "components", "schemas", "Error", "properties", "kind", "enum")); d != "" {
		t.Error(d)
	}
}
