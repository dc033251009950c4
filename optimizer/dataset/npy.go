package dataset

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// npyHeader is the header of a .npy file (format 1.0 to 3.0, numpy.lib.format).
type npyHeader struct {
	kind    kind
	descr   string
	fortran bool
	dims    []int
	size    int64 // bytes of the header, magic included
}

// maxHeader bounds a header; NumPy itself refuses longer ones than 10,000 bytes unless told otherwise.
const maxHeader = 1 << 16

var errNotNPY = errors.New("is no .npy data: it does not begin with \\x93NUMPY")

// readNPYHeader reads the header and leaves r at the first element.
func readNPYHeader(r io.Reader) (*npyHeader, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || !bytes.Equal(head[:6], []byte("\x93NUMPY")) {
		return nil, errNotNPY
	}
	length := make([]byte, 2)
	if head[6] >= 2 {
		length = make([]byte, 4)
	}
	if head[6] < 1 || head[6] > 3 {
		return nil, fmt.Errorf("has .npy format version %d.%d; 1.0 to 3.0 are known", head[6], head[7])
	}
	if _, err := io.ReadFull(r, length); err != nil {
		return nil, errors.New("ends in its .npy header: truncated?")
	}
	n := uint32(binary.LittleEndian.Uint16(length))
	if len(length) == 4 {
		n = binary.LittleEndian.Uint32(length)
	}
	if n > maxHeader {
		return nil, fmt.Errorf("claims a .npy header of %d bytes; at most %d are sensible", n, maxHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, errors.New("ends in its .npy header: truncated?")
	}
	h, err := parseNPYHeader(string(text))
	if err != nil {
		return nil, err
	}
	h.size = int64(len(head)+len(length)) + int64(n)
	return h, nil
}

var (
	npyDescr   = regexp.MustCompile(`['"]descr['"]\s*:\s*(?:['"]([^'"]*)['"]|\[)`)
	npyFortran = regexp.MustCompile(`['"]fortran_order['"]\s*:\s*(True|False)`)
	npyShape   = regexp.MustCompile(`['"]shape['"]\s*:\s*\(([0-9L,\s]*)\)`)
)

// parseNPYHeader understands the dictionary every writer of the format emits: descr, fortran_order, shape.
func parseNPYHeader(text string) (*npyHeader, error) {
	descr, fortran, shape := npyDescr.FindStringSubmatch(text), npyFortran.FindStringSubmatch(text), npyShape.FindStringSubmatch(text)
	if descr == nil || fortran == nil || shape == nil {
		return nil, errors.New("has a .npy header without descr, fortran_order and shape")
	}
	h := &npyHeader{descr: descr[1], fortran: fortran[1] == "True"}
	var err error
	if h.kind, err = npyKind(descr[1]); err != nil {
		return nil, err
	}
	for _, field := range strings.Split(shape[1], ",") {
		field = strings.TrimSuffix(strings.TrimSpace(field), "L")
		if field == "" {
			continue
		}
		d, err := strconv.Atoi(field)
		if err != nil || d < 0 {
			return nil, fmt.Errorf("has shape (%s) in its .npy header", shape[1])
		}
		h.dims = append(h.dims, d)
	}
	if h.fortran && len(h.dims) > 1 {
		return nil, errors.New("is stored column by column; save numpy.ascontiguousarray of it")
	}
	return h, nil
}

// npyTypes are the element types by NumPy's letter and size.
var npyTypes = map[string]Type{
	"u1": Uint8, "b1": Uint8, "i1": Int8, "u2": Uint16, "i2": Int16, "i4": Int32, "i8": Int64, "f2": Float16, "f4": Float32, "f8": Float64,
}

// maxText bounds the characters of a class's name.
const maxText = 1 << 12

// npyKind resolves a dtype such as `<f4` or `|u1`.
func npyKind(descr string) (kind, error) {
	trimmed := strings.TrimLeft(descr, "<>|=")
	unsigned := false
	name, ok := npyTypes[trimmed]
	if !ok && (trimmed == "u4" || trimmed == "u8") { // no Spec names them
		name, ok, unsigned = npyTypes["i"+trimmed[1:]], true, true
	}
	if size, err := strconv.Atoi(strings.TrimLeft(trimmed, "US")); err == nil && strings.ContainsAny(trimmed[:1], "US") && size > 0 && size <= maxText {
		return textKind(descr, size), nil
	}
	if !ok {
		if descr == "|O" || descr == "" {
			descr = "objects"
		}
		return kind{}, fmt.Errorf("has element type %s; save it as a number type with astype, such as float32 or uint8, or names of classes with astype(str)", descr)
	}
	k := littleKinds[name]
	if unsigned {
		k = unsignedKinds[k.size]
	}
	if strings.HasPrefix(descr, ">") && k.size > 1 {
		k = swapped(k)
	}
	return k, nil
}

// unsignedKinds are the unsigned types that have no name in a Spec.
var unsignedKinds = map[int]kind{
	4: integers(4, func(b []byte) int64 { return int64(binary.LittleEndian.Uint32(b)) }),
	8: integers(8, func(b []byte) int64 { return int64(min(binary.LittleEndian.Uint64(b), 1<<63-1)) }),
}

// swapped is a kind with its bytes the other way round.
func swapped(k kind) kind {
	out := k
	turn := func(src []byte, n int) []byte {
		turned := make([]byte, n)
		for i := 0; i+k.size <= n; i += k.size {
			for j := range k.size {
				turned[i+j] = src[i+k.size-1-j]
			}
		}
		return turned
	}
	out.decode = func(dst []float32, src []byte) { k.decode(dst, turn(src, len(dst)*k.size)) }
	if k.class != nil {
		out.class = func(b []byte) int64 { return k.class(turn(b, k.size)) }
	}
	return out
}
