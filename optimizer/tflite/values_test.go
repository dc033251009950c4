package tflite_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// constant is a model with a constant of so many bytes.
func constant(kind schema.TensorType, data []byte, shape ...int32) (*tflite.Model, *schema.TensorT) {
	b := tflitetest.New()
	t := b.Raw("c", kind, data, shape...)
	m := b.Model()
	return m, m.Subgraph().Tensors[t]
}

func TestHalvesAreWidened(t *testing.T) {
	inf := float32(math.Inf(1))
	for half, want := range map[uint16]float32{
		0x0000: 0, 0x3c00: 1, 0xc100: -2.5, 0x7bff: 65504, 0x0400: 1. / (1 << 14), 0x0001: 1. / (1 << 24), 0x83ff: -1023. / (1 << 24), 0x7c00: inf, 0xfc00: -inf,
	} {
		m, c := constant(schema.TensorTypeFLOAT16, binary.LittleEndian.AppendUint16(nil, half), 1)
		if got, err := m.Float32s(c); err != nil || got[0] != want {
			t.Errorf("%#04x is %v, %v, want %v", half, got, err, want)
		}
	}
	m, c := constant(schema.TensorTypeFLOAT16, []byte{0x01, 0x7e, 0, 0x80}, 2)
	got, err := m.Float32s(c)
	if err != nil || got[0] == got[0] || math.Float32bits(got[0]) != 0x7fc02000 || math.Float32bits(got[1]) != 1<<31 {
		t.Errorf("NaN and −0 are %v, %v", got, err)
	}
}

func TestWholeNumbersAreRead(t *testing.T) {
	for name, tc := range map[string]struct {
		kind schema.TensorType
		data []byte
		want []int32
		says string
	}{
		"32 bits":              {schema.TensorTypeINT32, tflite.Int32Bytes([]int32{1, -2, math.MaxInt32}), []int32{1, -2, math.MaxInt32}, ""},
		"64 bits":              {schema.TensorTypeINT64, tflite.Int64Bytes([]int64{1, math.MinInt32, math.MaxInt32}), []int32{1, math.MinInt32, math.MaxInt32}, ""},
		"64 bits, too great":   {schema.TensorTypeINT64, tflite.Int64Bytes([]int64{1, math.MaxInt32 + 1}), nil, "holds 2147483648, which does not fit 32 bits"},
		"64 bits, too little":  {schema.TensorTypeINT64, tflite.Int64Bytes([]int64{math.MinInt32 - 1}), nil, "holds -2147483649"},
		"something not whole":  {schema.TensorTypeFLOAT32, make([]byte, 4), nil, "not an integer tensor"},
		"nothing of 32 bits":   {schema.TensorTypeINT32, nil, []int32{}, ""},
		"a whole of eight bit": {schema.TensorTypeINT8, []byte{1}, nil, "not an integer tensor"},
	} {
		t.Run(name, func(t *testing.T) {
			size, _ := tflite.TypeSize(tc.kind)
			m, c := constant(tc.kind, tc.data, int32(8*len(tc.data)/size))
			got, err := m.Int32s(c)
			if (err != nil) != (tc.says != "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("error %v, want %q", err, tc.says)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestElementsOfShapes(t *testing.T) {
	for name, tc := range map[string]struct {
		shape []int32
		want  int
		fails bool
	}{
		"a scalar": {nil, 1, false}, "none": {[]int32{4, 0}, 0, false}, "some": {[]int32{4, 3}, 12, false}, "as many as there may be": {[]int32{math.MaxInt32}, math.MaxInt32, false},
		"one more": {[]int32{1 << 16, 1 << 15}, 0, true}, "far more": {[]int32{math.MaxInt32, math.MaxInt32, math.MaxInt32}, 0, true}, "fewer than none": {[]int32{-1}, 0, true},
	} {
		if got, err := tflite.NumElements(tc.shape); got != tc.want || (err != nil) != tc.fails {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

func TestDataOfTensorsWithoutABuffer(t *testing.T) {
	m, c := constant(schema.TensorTypeINT8, []byte{7}, 1)
	if diff := cmp.Diff([]byte{7}, m.Data(c)); diff != "" {
		t.Error(diff)
	}
	c.Buffer = uint32(len(m.Buffers))
	if m.Data(c) != nil {
		t.Error("a tensor of the buffer after the last has data")
	}
	m.Buffers = append(m.Buffers, nil)
	if m.Data(c) != nil {
		t.Error("a tensor of no buffer has data")
	}
}

func TestDataIsSetWhereNothingElseReadsIt(t *testing.T) {
	m, c := constant(schema.TensorTypeINT8, []byte{7}, 1)
	buffers := len(m.Buffers)
	m.SetData(c, []byte{8})
	if len(m.Buffers) != buffers || m.Data(c)[0] != 8 {
		t.Errorf("%d buffers, data %v", len(m.Buffers), m.Data(c))
	}
	c.Buffer = 0
	m.SetData(c, []byte{9})
	if c.Buffer == 0 || len(m.Buffers[0].Data) != 0 || m.Data(c)[0] != 9 {
		t.Errorf("buffer %d, data %v; buffer 0 holds %v", c.Buffer, m.Data(c), m.Buffers[0].Data)
	}
	m.ModelT.Metadata = []*schema.MetadataT{{Name: "same", Buffer: c.Buffer}}
	m.SetData(c, []byte{10})
	if data, _ := m.Metadata("same"); data[0] != 9 {
		t.Errorf("the metadata that shared the buffer is %v", data)
	}
}

func TestMetadata(t *testing.T) {
	m, c := constant(schema.TensorTypeINT8, []byte{7}, 1)
	m.SetMetadata("a", []byte{1})
	m.SetMetadata("b", []byte{2})
	m.SetMetadata("a", []byte{3})
	if a, ok := m.Metadata("a"); !ok || a[0] != 3 {
		t.Errorf("a is %v, %v", a, ok)
	}
	if b, ok := m.Metadata("b"); !ok || b[0] != 2 {
		t.Errorf("b is %v, %v", b, ok)
	}
	if _, ok := m.Metadata("c"); ok {
		t.Error("there is a c")
	}
	held := 0
	for _, buffer := range m.Buffers {
		held += len(buffer.Data)
	}
	if held != 3 {
		t.Errorf("%d bytes are held, want those of a, b and the constant", held)
	}
	m.ModelT.Metadata = append(m.ModelT.Metadata, &schema.MetadataT{Name: "shared", Buffer: c.Buffer}, &schema.MetadataT{Name: "torn", Buffer: 99})
	if _, ok := m.Metadata("torn"); ok {
		t.Error("an entry without a buffer has data")
	}
	m.DeleteMetadata("torn")
	m.DeleteMetadata("shared")
	if diff := cmp.Diff([]byte{7}, m.Data(c)); diff != "" {
		t.Error("the constant that shared its buffer with metadata:", diff)
	}
	if len(m.ModelT.Metadata) != 2 {
		t.Errorf("%d entries are left, want a and b", len(m.ModelT.Metadata))
	}
}

func TestOperatorsAreNamed(t *testing.T) {
	b := tflitetest.New()
	b.Output(b.Custom("y", "Mine", []int32{1, 2}, b.Unary("z", schema.BuiltinOperatorTANH, b.Input("x", 1, 2))))
	m := b.Model()
	m.OperatorCodes[0].CustomCode = "left over"
	for i, want := range []struct {
		code   schema.BuiltinOperator
		custom string
	}{{schema.BuiltinOperatorTANH, ""}, {schema.BuiltinOperatorCUSTOM, "Mine"}} {
		if code, custom := m.Op(m.Subgraph().Operators[i]); code != want.code || custom != want.custom {
			t.Errorf("operator %d is %s %q, want %s %q", i, code, custom, want.code, want.custom)
		}
	}
}

// Buffers and custom options behind the FlatBuffer, as converters write large models.
func TestDataBehindTheFlatBufferIsRead(t *testing.T) {
	build := func(at, weights, options uint64) []byte {
		b := tflitetest.New()
		w := b.Raw("w", schema.TensorTypeINT8, make([]byte, 4), 1, 4)
		b.Output(b.Custom("y", "Mine", []int32{1, 4}, w))
		m := b.Model()
		m.Buffers[m.Subgraph().Tensors[w].Buffer] = &schema.BufferT{Offset: at, Size: weights}
		o := m.Subgraph().Operators[0]
		o.LargeCustomOptionsOffset, o.LargeCustomOptionsSize = at+4, options
		return tflite.PackUnchecked(m)
	}
	at := uint64(len(build(1<<20, 4, 3)))
	behind := []byte{1, 2, 3, 4, 5, 6, 7}
	m, err := tflite.Read(append(build(at, 4, 3), behind...))
	if err != nil {
		t.Fatal(err)
	}
	o := m.Subgraph().Operators[0]
	weights := m.Data(m.Subgraph().Tensors[o.Inputs[0]])
	if diff := cmp.Diff([][]byte{{1, 2, 3, 4}, {5, 6, 7}}, [][]byte{weights, o.CustomOptions}); diff != "" {
		t.Error(diff)
	}
	if cap(weights) != 4 || o.LargeCustomOptionsOffset != 0 || o.LargeCustomOptionsSize != 0 {
		t.Errorf("room for %d bytes, options of %d bytes at %d", cap(weights), o.LargeCustomOptionsSize, o.LargeCustomOptionsOffset)
	}
	for name, data := range map[string][]byte{
		"options that end a byte behind the file": append(build(at, 4, 4), behind...),
		"data that begins behind the file":        append(build(at+8, 4, 3), behind...),
		"a size that overflows":                   append(build(at, math.MaxUint64, 3), behind...),
		"options that begin behind the file":      build(at, 0, 3),
	} {
		var format *tflite.FormatError
		if _, err := tflite.Read(data); !errors.As(err, &format) || !strings.Contains(err.Error(), "lies outside the file") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// Whatever number stands at whatever place of a file, reading ends in a model or an error of the format.
func TestNoOffsetLeadsOutsideTheFile(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 2, 2, 1)
	b.Output(b.Conv("y", x, []float32{1}, []float32{1}, 1, 1, 1, 1, schema.PaddingSAME, tflitetest.None))
	good := tflite.PackUnchecked(b.Model())
	size := uint32(len(good))
	read := func(at int, data []byte) {
		defer func() {
			if r := recover(); r != nil {
				t.Fatalf("changed at byte %d: %v", at, r)
			}
		}()
		var format *tflite.FormatError
		if _, err := tflite.Read(data); err != nil && !errors.As(err, &format) {
			t.Errorf("changed at byte %d: %v", at, err)
		}
	}
	for at := 0; at+4 <= len(good); at += 2 {
		if at >= 4 && at < 8 {
			continue // the file's identifier
		}
		here := uint32(at)
		for _, v := range []uint32{0, 1, 1 << 31, math.MaxUint32, here, here + 1, here - size, here - size + 2, here - size + 3, here - size + 4,
			size - here, size - here - 1, size - here - 3, size - here - 4, size - here - 5, (size - here - 4) / 4, (size-here-4)/4 + 1} {
			if at%4 == 0 {
				data := bytes.Clone(good)
				binary.LittleEndian.PutUint32(data[at:], v)
				read(at, data)
			}
		}
		for _, v := range []uint16{0, 2, 3, 4, 5, uint16(size - here), uint16(size-here) &^ 1, uint16(size-here)&^1 + 2, math.MaxUint16} {
			data := bytes.Clone(good)
			binary.LittleEndian.PutUint16(data[at:], v)
			read(at, data)
		}
	}
	for n := range good {
		read(n, good[:n])
	}
}

func TestErrorsSayWhere(t *testing.T) {
	for want, err := range map[string]*tflite.FormatError{
		"invalid .tflite: torn":                            {Offset: -1, Reason: "torn"},
		"invalid .tflite: torn (byte 0)":                   {Reason: "torn"},
		"invalid .tflite: model.Subgraphs: torn (byte 12)": {Where: "model.Subgraphs", Offset: 12, Reason: "torn"},
	} {
		if got := err.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	m := small()
	m.Subgraph().Tensors[1].Buffer = 99
	if got, want := m.Check().Error(), `invalid .tflite: tensor 1 "conv/kernel": buffer 99 of `; !strings.HasPrefix(got, want) || strings.Contains(got, "byte") {
		t.Errorf("%q, want %q", got, want)
	}
	m = small()
	m.Subgraphs = append(m.Subgraphs, tflite.CopySubgraph(m.Subgraph()))
	m.Subgraphs[1].Tensors[1].Buffer = 99
	if got, want := m.Check().Error(), `invalid .tflite: subgraph 1: tensor 1 "conv/kernel": buffer 99 of `; !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	var format *tflite.FormatError
	if _, err := tflite.Read(nil); !errors.As(err, &format) || format.Offset != -1 {
		t.Errorf("an empty file: %v", err)
	}
}

func TestClonesShareBytesAlone(t *testing.T) {
	m := small()
	again := m.Clone()
	if diff := cmp.Diff(m.ModelT, again.ModelT); diff != "" {
		t.Fatal(diff)
	}
	kernel := m.Subgraph().Tensors[1].Buffer
	if &m.Buffers[kernel].Data[0] != &again.Buffers[kernel].Data[0] || cap(again.Buffers[kernel].Data) != len(m.Buffers[kernel].Data) {
		t.Error("the bytes of a constant are copied, or may be appended to")
	}
	again.Buffers[kernel].Data = nil
	again.Subgraph().Tensors[0].Shape[1] = 99
	again.Subgraph().Operators[0].Inputs[0] = 99
	again.Subgraph().Operators[0].BuiltinOptions.Value.(*schema.Conv2DOptionsT).StrideH = 99
	again.SignatureDefs[0].Inputs[0].TensorIndex = 99
	if diff := cmp.Diff(small().ModelT, m.ModelT); diff != "" {
		t.Error("changing a clone changes the model:", diff)
	}
}

func TestFilesAppearWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.tflite")
	if err := tflite.WriteFile(path, small()); err != nil {
		t.Fatal(err)
	}
	if _, err := tflite.ReadFile(path); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if err := tflite.WriteFile(filepath.Join(dir, "none", "m.tflite"), small()); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a folder that is not there: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := tflite.WriteFile(filepath.Join(dir, "taken"), small()); err == nil || !strings.Contains(err.Error(), "write ") {
		t.Errorf("a folder of that name: %v", err)
	}
	broken := small()
	broken.Version = 2
	if err := tflite.WriteFile(path, broken); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("a broken model: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("what failed leaves %v, %v", entries, err)
	}
	if _, err := tflite.ReadFile(filepath.Join(dir, "none")); err == nil {
		t.Error("a file that is not there is read")
	}
	if err := os.WriteFile(path, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tflite.ReadFile(path); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("a torn file: %v", err)
	}
}

func TestFilesThatAModelCarriesAreNamed(t *testing.T) {
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for _, name := range []string{"labels.txt", "a\"b"} {
		if _, err := w.Create(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	model := marshal(t, small())
	both := append(bytes.Clone(model), archive.Bytes()...)
	if diff := cmp.Diff([]string{`"labels.txt"`, `"a\"b"`}, tflite.Associated(both)); diff != "" {
		t.Error(diff)
	}
	// the model may be larger than where the end of an archive is looked for
	if diff := cmp.Diff([]string{`"labels.txt"`, `"a\"b"`}, tflite.Associated(append(make([]byte, 1<<17), archive.Bytes()...))); diff != "" {
		t.Error(diff)
	}
	for name, data := range map[string][]byte{"a model": model, "nothing": nil, "half an archive": append(bytes.Clone(model), archive.Bytes()[archive.Len()-22:]...)} {
		if got := tflite.Associated(data); got != nil {
			t.Errorf("%s carries %q", name, got)
		}
	}
}

// Readers of TFLite models take the offsets of an archive for those of the whole file, wherever the model ends that it is appended to.
func TestAssociatedFilesFollowTheModel(t *testing.T) {
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for name, method := range map[string]uint16{"labels.txt": zip.Store} {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("cat\ndog\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.SetComment("labels"), w.Close()); err != nil {
		t.Fatal(err)
	}
	m, err := tflite.Read(append(marshal(t, small()), archive.Bytes()...))
	if err != nil {
		t.Fatal(err)
	}
	m = m.Clone()
	m.SetMetadata("more", make([]byte, 1000)) // the model ends elsewhere
	file := marshal(t, m)
	end := bytes.LastIndex(file, []byte("PK\x05\x06"))
	directory := int(binary.LittleEndian.Uint32(file[end+16:]))
	if !bytes.HasPrefix(file[directory:], []byte("PK\x01\x02")) {
		t.Fatalf("no directory at byte %d", directory)
	}
	if at := binary.LittleEndian.Uint32(file[directory+42:]); !bytes.HasPrefix(file[at:], []byte("PK\x03\x04")) {
		t.Errorf("no file at byte %d", at)
	}
	if !bytes.HasSuffix(file, []byte("labels")) {
		t.Error("the comment is gone")
	}
	again, err := tflite.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if second := marshal(t, again); !bytes.Equal(second, file) {
		t.Errorf("%d bytes read and written again are %d", len(file), len(second))
	}
	r, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := fs.ReadFile(r, "labels.txt"); err != nil || string(text) != "cat\ndog\n" {
		t.Errorf("%q, %v", text, err)
	}
	damaged := append(marshal(t, small()), archive.Bytes()...)
	copy(damaged[len(damaged)-archive.Len():], "none") // no file where the directory says
	if m, err := tflite.Read(damaged); err != nil || m.Archive != nil {
		t.Errorf("a damaged archive: %d bytes, %v", len(m.Archive), err)
	}
}

func TestCompactSaysWhereTensorsWent(t *testing.T) {
	m := small()
	s := m.Subgraph()
	s.Tensors = append([]*schema.TensorT{{Name: "first", Shape: []int32{1}}}, s.Tensors...)
	for _, o := range s.Operators {
		for _, list := range [][]int32{o.Inputs, o.Outputs} {
			for i := range list {
				list[i]++
			}
		}
	}
	s.Inputs[0]++
	s.Outputs[0]++
	m.SignatureDefs[0].Inputs[0].TensorIndex++
	m.SignatureDefs[0].Outputs[0].TensorIndex++
	other := &schema.SubGraphT{Tensors: []*schema.TensorT{{Name: "left over"}, {Name: "x"}}, Inputs: []int32{1}, Outputs: []int32{1}}
	m.Subgraphs = append(m.Subgraphs, other)
	m.SignatureDefs = append(m.SignatureDefs, &schema.SignatureDefT{SignatureKey: "other", SubgraphIndex: 1, Inputs: []*schema.TensorMapT{{Name: "x", TensorIndex: 1}}})
	n := len(s.Tensors)
	moved := tflite.Compact(m)
	want := []int{-1}
	for i := range n - 1 {
		want = append(want, i)
	}
	if diff := cmp.Diff(want, moved); diff != "" {
		t.Error(diff)
	}
	wanted := small()
	if diff := cmp.Diff(wanted.Subgraph(), m.Subgraph(), cmpopts.IgnoreFields(schema.TensorT{}, "Buffer"), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(wanted.SignatureDefs[0], m.SignatureDefs[0]); diff != "" {
		t.Error(diff)
	}
	if len(other.Tensors) != 1 || other.Inputs[0] != 0 || m.SignatureDefs[1].Inputs[0].TensorIndex != 0 {
		t.Errorf("the other subgraph: %d tensors, input %d, signature %d", len(other.Tensors), other.Inputs[0], m.SignatureDefs[1].Inputs[0].TensorIndex)
	}
	if err := m.Check(); err != nil {
		t.Error(err)
	}
	detailed := small()
	detailed.Subgraph().Tensors = append(detailed.Subgraph().Tensors, &schema.TensorT{Name: "scales", Quantization: &schema.QuantizationParametersT{
		Details: &schema.QuantizationDetailsT{Type: schema.QuantizationDetailsBlockwiseQuantization}}})
	n = len(detailed.Subgraph().Tensors)
	if tflite.Compact(detailed); len(detailed.Subgraph().Tensors) != n {
		t.Error("a tensor went that blockwise quantization may name")
	}
}

func TestSubgraphsThatNothingNamesGo(t *testing.T) {
	m := twoSignatures("decode")
	call := func(i int32) []*schema.OperatorT {
		return []*schema.OperatorT{{BuiltinOptions: &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsCallOnceOptions, Value: &schema.CallOnceOptionsT{InitSubgraphIndex: i}}}}
	}
	for i := range 2 {
		m.Subgraphs = append(m.Subgraphs, &schema.SubGraphT{Tensors: []*schema.TensorT{{Name: "x", Shape: []int32{1, int32(7 + i)}}}})
	}
	m.Subgraphs[0].Operators, m.Subgraphs[1].Operators, m.Subgraphs[2].Operators = call(2), nil, call(2) // which calls itself
	m.SignatureDefs = append(m.SignatureDefs, &schema.SignatureDefT{SignatureKey: "last", SubgraphIndex: 4})
	tflite.DropSubgraphs(m)
	var widths []int32
	for _, g := range m.Subgraphs {
		widths = append(widths, g.Tensors[0].Shape[1])
	}
	if diff := cmp.Diff([]int32{4, 6, 8}, widths); diff != "" {
		t.Error(diff)
	}
	for i, want := range []int32{1, 1} {
		if got := m.Subgraphs[i].Operators[0].BuiltinOptions.Value.(*schema.CallOnceOptionsT).InitSubgraphIndex; got != want {
			t.Errorf("subgraph %d calls %d, want %d", i, got, want)
		}
	}
	if got := m.SignatureDefs[1].SubgraphIndex; got != 2 {
		t.Errorf("the last signature is of subgraph %d", got)
	}
	before := m.Clone()
	if tflite.DropSubgraphs(m); len(m.Subgraphs) != len(before.Subgraphs) {
		t.Error("subgraphs went that are named")
	}
}

func TestRuntimeVersions(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"1.5.0", "1.5.0", false}, {"1.14.0", "1.5.0", true}, {"1.5.0", "1.14.0", false}, {"2.0", "1.15.0", true}, {"1.15.1", "1.15", true}, {"1.15", "1.15.1", false},
		{"1.15.0", "1.15", false}, {"", "1.5.0", false}, {"what", "1.5.0", false}, {"10.0.0", "9.9.9", true},
	} {
		if got := tflite.Newer(tc.a, tc.b); got != tc.want {
			t.Errorf("%q newer than %q: %v", tc.a, tc.b, got)
		}
	}
	last := int32(0)
	for v := int32(1); tflite.Since(schema.BuiltinOperatorCONV_2D, v) != ""; v++ {
		last = v
	}
	if first := tflite.Since(schema.BuiltinOperatorCONV_2D, 1); first != "1.5.0" || last < 3 || tflite.Since(schema.BuiltinOperatorCONV_2D, 0) != "" {
		t.Errorf("CONV_2D since %q, %d versions", first, last)
	}
	if got := tflite.Since(schema.BuiltinOperatorCUSTOM, 1); got != "" {
		t.Errorf("custom operators since %q", got)
	}
}

func TestTheRuntimeThatAFileNames(t *testing.T) {
	padded := func(version string) []byte { return append([]byte(version), make([]byte, 16-len(version))...) }
	for name, tc := range map[string]struct {
		version string
		code    schema.BuiltinOperator
		want    string
	}{
		"its own":                            {"1.14.0", schema.BuiltinOperatorTANH, "1.14.0"},
		"one that is too old":                {"1.5.0", schema.BuiltinOperatorTANH, "1.14.0"},
		"one that is newer than it need be":  {"2.9.0", schema.BuiltinOperatorTANH, "1.14.0"},
		"one for an operator nobody knows":   {"2.9.0", schema.BuiltinOperatorCUSTOM, "2.9.0"},
		"too old a one for such an operator": {"1.0.0", schema.BuiltinOperatorCUSTOM, "1.5.0"},
	} {
		t.Run(name, func(t *testing.T) {
			b := tflitetest.New()
			x := b.Input("x", 1, 2)
			if tc.code == schema.BuiltinOperatorCUSTOM {
				b.Output(b.Custom("y", "Mine", []int32{1, 2}, x))
			} else {
				b.Output(b.Unary("y", tc.code, x))
			}
			m := b.Model()
			m.SetMetadata("other", []byte("kept"))
			m.SetMetadata("min_runtime_version", padded(tc.version))
			again, err := tflite.Read(marshal(t, m))
			if err != nil {
				t.Fatal(err)
			}
			got, _ := again.Metadata("min_runtime_version")
			if diff := cmp.Diff(padded(tc.want), got); diff != "" {
				t.Error(diff)
			}
			if other, _ := again.Metadata("other"); string(other) != "kept" {
				t.Errorf("other metadata is %q", other)
			}
			if mine, _ := m.Metadata("min_runtime_version"); !bytes.Equal(mine, padded(tc.version)) {
				t.Errorf("writing changed the model's own entry to %q", mine)
			}
		})
	}
}
