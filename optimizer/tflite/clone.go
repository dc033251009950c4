package tflite

import "reflect"

// deepCopy copies a generated object tree: pointers, slices but those of bytes, and union values.
func deepCopy[T any](v *T) *T {
	return copyValue(reflect.ValueOf(v)).Interface().(*T)
}

// needed are the vectors that runtimes expect even when they are empty.
var needed = map[string]bool{"Shape": true, "Inputs": true, "Outputs": true, "Operators": true, "Tensors": true}

// lean returns a copy of an object tree for packing: it shares the data of vectors and drops the empty ones, which the generated
// code would write although reading an absent vector gives an empty one too.
func lean[T any](v *T) *T {
	return leanValue(reflect.ValueOf(v)).Interface().(*T)
}

func leanValue(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		out := reflect.New(v.Type().Elem())
		out.Elem().Set(leanValue(v.Elem()))
		return out
	case reflect.Struct:
		out := reflect.New(v.Type()).Elem()
		for i := range v.NumField() {
			f := v.Field(i)
			if f.Kind() != reflect.Slice || f.Len() > 0 || needed[v.Type().Field(i).Name] {
				out.Field(i).Set(leanValue(f))
			}
		}
		return out
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Pointer || v.IsNil() {
			return v
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(leanValue(v.Index(i)))
		}
		return out
	case reflect.Interface:
		if v.IsNil() {
			return v
		}
		out := reflect.New(v.Type()).Elem()
		out.Set(leanValue(v.Elem()))
		return out
	default:
		return v
	}
}

func copyValue(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		out := reflect.New(v.Type().Elem())
		out.Elem().Set(copyValue(v.Elem()))
		return out
	case reflect.Struct:
		out := reflect.New(v.Type()).Elem()
		for i := range v.NumField() {
			out.Field(i).Set(copyValue(v.Field(i)))
		}
		return out
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v.Slice3(0, v.Len(), v.Len())
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		if k := v.Type().Elem().Kind(); k == reflect.Pointer || k == reflect.Struct || k == reflect.Interface {
			for i := range v.Len() {
				out.Index(i).Set(copyValue(v.Index(i)))
			}
		} else {
			reflect.Copy(out, v)
		}
		return out
	case reflect.Interface:
		if v.IsNil() {
			return v
		}
		out := reflect.New(v.Type()).Elem()
		out.Set(copyValue(v.Elem()))
		return out
	default:
		return v
	}
}
