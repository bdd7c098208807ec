package main

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
)

// shownPrefix is what templates see of a prefix, ADDRESS/BITS. It is empty
// where there is none, as the text of an address is: netip would print
// "invalid Prefix", and be true in an {{if}}.
type shownPrefix string

// Addr returns the address of a prefix.
func (p shownPrefix) Addr() string {
	a, _, _ := strings.Cut(string(p), "/")
	return a
}

// Bits returns the length of a prefix, as text.
func (p shownPrefix) Bits() string {
	_, bits, _ := strings.Cut(string(p), "/")
	return bits
}

var shownAs = map[reflect.Type]reflect.Type{
	reflect.TypeFor[netip.Addr]():   reflect.TypeFor[string](),
	reflect.TypeFor[netip.Prefix](): reflect.TypeFor[shownPrefix](),
}

// shape returns v with its addresses as shownAs says. Its fields are called
// as before, and what has no address in it is as it was.
func shape(v any) any {
	if v == nil {
		return nil
	}
	from := reflect.ValueOf(v)
	return reshape(from, shapeOf(from.Type())).Interface()
}

// named returns v, a struct of shape's, with its ID as id writes it.
func named(v any, id func(string) string) any {
	out := reflect.New(reflect.TypeOf(v)).Elem()
	out.Set(reflect.ValueOf(v))
	if f := out.FieldByName("ID"); f.IsValid() {
		f.SetString(id(f.String()))
	}
	return out.Interface()
}

// shapeOf returns the type that a value of type t is shown as: t itself if
// there is nothing in it to change, or if it says itself how it is printed.
func shapeOf(t reflect.Type) reflect.Type {
	if to, ok := shownAs[t]; ok {
		return to
	}
	if t.Implements(reflect.TypeFor[fmt.Stringer]()) {
		return t
	}
	switch t.Kind() {
	case reflect.Slice:
		if e := shapeOf(t.Elem()); e != t.Elem() {
			return reflect.SliceOf(e)
		}
	case reflect.Map:
		if e := shapeOf(t.Elem()); e != t.Elem() {
			return reflect.MapOf(t.Key(), e)
		}
	case reflect.Pointer:
		if e := shapeOf(t.Elem()); e != t.Elem() {
			return reflect.PointerTo(e)
		}
	case reflect.Struct:
		fields, changed := make([]reflect.StructField, 0, t.NumField()), false
		for f := range t.Fields() {
			to := shapeOf(f.Type)
			changed = changed || to != f.Type
			fields = append(fields, reflect.StructField{Name: f.Name, Type: to, Tag: f.Tag, Anonymous: f.Anonymous})
		}
		if changed {
			return reflect.StructOf(fields)
		}
	}
	return t
}

// reshape converts v to what shapeOf says of its type.
func reshape(v reflect.Value, to reflect.Type) reflect.Value {
	if v.Type() == to {
		return v
	}
	out := reflect.New(to).Elem()
	if a, ok := v.Interface().(interface {
		fmt.Stringer
		IsValid() bool
	}); ok {
		if a.IsValid() {
			out.SetString(a.String())
		}
		return out
	}
	switch v.Kind() {
	case reflect.Slice:
		if !v.IsNil() {
			out.Set(reflect.MakeSlice(to, v.Len(), v.Len()))
		}
		for i := range v.Len() {
			out.Index(i).Set(reshape(v.Index(i), to.Elem()))
		}
	case reflect.Map:
		if !v.IsNil() {
			out.Set(reflect.MakeMapWithSize(to, v.Len()))
		}
		for k, e := range v.Seq2() {
			out.SetMapIndex(k, reshape(e, to.Elem()))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(to.Elem()))
			out.Elem().Set(reshape(v.Elem(), to.Elem()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			out.Field(i).Set(reshape(v.Field(i), to.Field(i).Type))
		}
	}
	return out
}
