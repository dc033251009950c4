package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// textKind is an element type of NumPy's fixed-size strings: <U3 (UTF-32) or |S3 (bytes).
func textKind(descr string, size int) kind {
	k := kind{name: Type(descr), size: size, text: true}
	if strings.Contains(descr, "U") {
		order := binary.ByteOrder(binary.LittleEndian)
		if strings.HasPrefix(descr, ">") {
			order = binary.BigEndian
		}
		k.size = 4 * size
		k.string = func(raw []byte) string {
			var out strings.Builder
			for i := 0; i+4 <= len(raw); i += 4 {
				if r := order.Uint32(raw[i:]); r != 0 {
					out.WriteRune(rune(r))
				}
			}
			return out.String()
		}
		return k
	}
	k.string = func(raw []byte) string { return strings.TrimRight(string(raw), "\x00") }
	return k
}

// encodeText replaces arrays of text by the places of their names among the sorted names of all, which it returns; nil if they hold
// numbers, or texts that are all numbers.
func encodeText(arrays []*array) ([]string, error) {
	if !arrays[0].kind.text {
		return nil, nil
	}
	distinct := map[string]bool{}
	known, texts := words{}, make([][]string, len(arrays))
	for i, a := range arrays {
		if !a.kind.text {
			return nil, fmt.Errorf("%s holds numbers, %s text", a.title, arrays[0].title)
		}
		if err := a.rows(func(first int, raw []byte, size int) error {
			for at := 0; at+a.kind.size <= len(raw); at += a.kind.size {
				name := known.keep(strings.TrimSpace(a.kind.string(raw[at : at+a.kind.size])))
				if name == "" {
					return fmt.Errorf("%s: the label is empty: fill it in, or take the sample out", a.name(first+at/size))
				}
				texts[i] = append(texts[i], name)
				distinct[name] = true
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	names := slices.Sorted(maps.Keys(distinct))
	if numbers := numbersOf(texts); numbers != nil {
		for i, a := range arrays {
			arrays[i] = a.numbered(numbers[i])
		}
		return nil, nil
	}
	for i, a := range arrays {
		places := make([]int64, len(texts[i]))
		for j, name := range texts[i] {
			at, _ := slices.BinarySearch(names, name)
			places[j] = int64(at)
		}
		arrays[i] = a.numbered(places)
	}
	return names, nil
}

// numbered is an array of numbers in place of one of texts.
func (a *array) numbered(values []int64) *array {
	out := memory(a.title, Int64, a.dims, values)
	out.label = a.label
	return out
}

// numbersOf reads texts that are all whole numbers as such; nil if one is not.
func numbersOf(texts [][]string) [][]int64 {
	out := make([][]int64, len(texts))
	for i, list := range texts {
		out[i] = make([]int64, len(list))
		for j, text := range list {
			v, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return nil
			}
			out[i][j] = v
		}
	}
	return out
}

// texts is an array of names.
func texts(title string, names []string) *array {
	size := 1
	for _, name := range names {
		size = max(size, len(name))
	}
	raw := make([]byte, size*len(names))
	for i, name := range names {
		copy(raw[i*size:], name)
	}
	return &array{title: title, kind: textKind("|S", size), dims: []int{len(names)}, data: bytes.NewReader(raw)}
}
