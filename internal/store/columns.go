package store

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// columns are the columns in which the fields of a struct are stored, in the order of the fields. The tag db of a field
// names its column; a field without the tag is not stored.
type columns struct {
	names    []string
	fields   []reflect.StructField
	defaults []reflect.Value // values of the tag default, which replace zero values in new rows; invalid without the tag
}

func columnsOf[T any]() (c columns) {
	for _, field := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if name := field.Tag.Get("db"); name != "" && name != "-" {
			c.names = append(c.names, name)
			c.fields = append(c.fields, field)
			var value reflect.Value
			if text, ok := field.Tag.Lookup("default"); ok {
				value = reflect.ValueOf(text).Convert(field.Type) // panics unless the field is a string
			}
			c.defaults = append(c.defaults, value)
		}
	}
	return c
}

// complete sets the fields of a row that are zero to their defaults, and a slice that is nil to an empty one. row is a
// pointer to a struct.
func (c columns) complete(row any) {
	for i, value := range c.defaults {
		field := reflect.ValueOf(row).Elem().FieldByIndex(c.fields[i].Index)
		switch {
		case !field.IsZero():
		case value.IsValid():
			field.Set(value)
		case field.Kind() == reflect.Slice:
			field.Set(reflect.MakeSlice(field.Type(), 0, 0))
		}
	}
}

// list returns the columns as SQL: a, b, c.
func (c columns) list() string { return strings.Join(c.names, ", ") }

// parameters returns as many parameters as there are columns: $3, $4, $5.
func (c columns) parameters(first int) string {
	all := make([]string, len(c.names))
	for i := range all {
		all[i] = "$" + strconv.Itoa(first+i)
	}
	return strings.Join(all, ", ")
}

// pointers returns pointers to the fields of a struct, into which the columns of a row are scanned.
func (c columns) pointers(row any) []any {
	all := make([]any, len(c.fields))
	for i, field := range c.fields {
		all[i] = reflect.ValueOf(row).Elem().FieldByIndex(field.Index).Addr().Interface()
	}
	return all
}

// values returns the values of a struct's columns.
func (c columns) values(row any) []any {
	all := make([]any, len(c.fields))
	for i, field := range c.fields {
		all[i] = reflect.ValueOf(row).FieldByIndex(field.Index).Interface()
	}
	return all
}

// Optional is a value that may be absent. The zero Optional is absent.
type Optional[T any] struct {
	value T
	set   bool
}

// Set returns an Optional with a value.
func Set[T any](value T) Optional[T] { return Optional[T]{value, true} }

// arguments returns whether o is set, and its value.
func (o Optional[T]) arguments() []any { return []any{o.set, o.value} }

type optional interface{ arguments() []any }

// changesOf returns the columns that a struct of Optionals changes: those of the fields of T with the same names. A field
// with the tag db:"-" is not of a column.
func changesOf[Changes, T any]() (c columns) {
	all := columnsOf[T]()
	for field := range reflect.TypeFor[Changes]().Fields() {
		if field.Tag.Get("db") == "-" {
			continue
		}
		at := slices.IndexFunc(all.fields, func(f reflect.StructField) bool { return f.Name == field.Name })
		if at < 0 || !field.Type.Implements(reflect.TypeFor[optional]()) || field.Type.Field(0).Type != all.fields[at].Type {
			panic(fmt.Sprintf("store: %s is not an Optional of a column of %s", field.Name, reflect.TypeFor[T]()))
		}
		c.names = append(c.names, all.names[at])
		c.fields = append(c.fields, field)
	}
	return c
}

// assignments returns the set clause of an update, without set. Each column has two parameters; see arguments.
func (c columns) assignments(first int) string {
	all := make([]string, len(c.names))
	for i, name := range c.names {
		all[i] = fmt.Sprintf("%s = case when $%d then $%d else %[1]s end", name, first+2*i, first+2*i+1)
	}
	return strings.Join(all, ",\n    ")
}

// settings returns the set clause of an update of all columns, without set.
func (c columns) settings(first int) string {
	all := make([]string, len(c.names))
	for i, name := range c.names {
		all[i] = name + " = $" + strconv.Itoa(first+i)
	}
	return strings.Join(all, ",\n    ")
}

// arguments returns the parameters of assignments.
func (c columns) arguments(changes any) (all []any) {
	for _, value := range c.values(changes) {
		all = append(all, value.(optional).arguments()...)
	}
	return all
}
