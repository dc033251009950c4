package encode

import (
	"container/heap"
	"encoding/binary"
	"fmt"
)

// An entry of a table, of 16 bits: whether the value is found, a count of 4 bits, and the value or an offset. Found, the count says how
// many of the bits that were read last belong to the codeword; else it is one less than how many to read next, and the offset is from this
// entry to the table that they index. Entries of 32 bits have 27 for the value.
const (
	found16    = 1 << 15
	shift16    = 11
	value16    = 1<<11 - 1
	found32    = 1 << 31
	shift32    = 27
	value32    = 1<<27 - 1
	countMask  = 15
	wide       = 1 // of the kind's parameters: entries have 32 bits
	firstShift = 4 // the upper half of the parameters: one less than the bits that index the first table
)

// wordSize is what the decoder reads at once.
const wordSize = 4

// tree is a node of a Huffman tree: a leaf has no children.
type tree struct {
	weight int
	order  int // made before: alike trees come out alike
	value  byte
	zero   *tree
	one    *tree
}

func (t *tree) leaf() bool { return t.zero == nil }

type forest []*tree

func (f forest) Len() int { return len(f) }
func (f forest) Less(i, j int) bool {
	return f[i].weight < f[j].weight || f[i].weight == f[j].weight && f[i].order < f[j].order
}
func (f forest) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *forest) Push(t any)   { *f = append(*f, t.(*tree)) }
func (f *forest) Pop() any {
	last := len(*f) - 1
	t := (*f)[last]
	*f = (*f)[:last]
	return t
}

// grow makes the tree of least expected length for some values.
func grow(data []byte) *tree {
	var counts [256]int
	for _, v := range data {
		counts[v]++
	}
	var f forest
	for v, n := range counts {
		if n > 0 {
			f = append(f, &tree{weight: n, order: len(f), value: byte(v)})
		}
	}
	if len(f) == 1 { // a codeword has a bit at least
		return &tree{zero: f[0], one: f[0]}
	}
	heap.Init(&f)
	for order := len(f); len(f) > 1; order++ {
		a, b := heap.Pop(&f).(*tree), heap.Pop(&f).(*tree)
		heap.Push(&f, &tree{weight: a.weight + b.weight, order: order, zero: a, one: b})
	}
	return f[0]
}

// maxTableBits bound the bits that index a table.
const maxTableBits = 10

// table is what a node becomes: one entry for each value of the next bits, with further tables where codewords are longer.
type table struct {
	bits    int
	entries int // of it and all below
	below   []*tree
}

// planner chooses how many bits each node's table is indexed by, so that all tables have the fewest entries, and among those the most bits.
type planner map[*tree]*table

func (p planner) plan(t *tree) *table {
	if best := p[t]; best != nil {
		return best
	}
	var best *table
	level := []*tree{t}
	for bits := 1; bits <= maxTableBits && len(level) > 0; bits++ {
		var below []*tree
		for _, n := range level {
			for _, child := range []*tree{n.zero, n.one} {
				if !child.leaf() {
					below = append(below, child)
				}
			}
		}
		entries := 1 << bits
		for _, n := range below {
			entries += p.plan(n).entries
		}
		if best == nil || entries <= best.entries {
			best = &table{bits, entries, below}
		}
		level = below
	}
	p[t] = best
	return best
}

// write lays out the tables, those nearest the root first. Fewest entries are at most 510, so that no offset is too long.
func (p planner) write(root *tree) []byte {
	start, queue, end := map[*tree]int{root: 0}, []*tree{root}, 1<<p.plan(root).bits
	for i := 0; i < len(queue); i++ {
		for _, n := range p.plan(queue[i]).below {
			start[n], end = end, end+1<<p.plan(n).bits
			queue = append(queue, n)
		}
	}
	out := make([]byte, 2*end)
	for _, t := range queue {
		bits := p.plan(t).bits
		for i := range 1 << bits {
			n, used := t, 0
			for used < bits && !n.leaf() {
				if used++; i>>(bits-used)&1 == 1 {
					n = n.one
				} else {
					n = n.zero
				}
			}
			at := start[t] + i
			entry := found16 | used<<shift16 | int(n.value)
			if !n.leaf() {
				entry = (p.plan(n).bits-1)<<shift16 | start[n] - at
			}
			binary.LittleEndian.PutUint16(out[2*at:], uint16(entry))
		}
	}
	return out
}

// codeword is the way to a leaf.
type codeword struct {
	bits   []byte // 0 or 1 each
	tables int    // bits of the codeword before the last table that it is found by, and of that table's index
	index  int
}

// huffman encodes int8 values.
func huffman(data []byte) Encoded {
	root, p := grow(data), planner{}
	ancillary := header(Huffman)
	ancillary[atParams] = byte(p.plan(root).bits-1) << firstShift
	ancillary = append(ancillary, p.write(root)...)
	var codes [256]codeword
	var walk func(t, from *tree, way []byte, before int)
	walk = func(t, from *tree, way []byte, before int) {
		switch {
		case t.leaf():
			codes[t.value] = codeword{way, before, p.plan(from).bits}
			return
		case len(way) == before+p.plan(from).bits:
			from, before = t, len(way)
		}
		for bit, child := range []*tree{t.zero, t.one} {
			walk(child, from, append(way[:len(way):len(way)], byte(bit)), before)
		}
	}
	walk(root, root, nil, 0)
	w, read := &bitWriter{}, 0
	at := 0
	for _, v := range data {
		c := &codes[v]
		read = max(read, at+c.tables+c.index) // the decoder reads a whole index, and puts back what is not of the codeword
		for _, bit := range c.bits {
			w.write(uint32(bit), 1)
		}
		at += len(c.bits)
	}
	words := (read + 8*wordSize - 1) / (8 * wordSize)
	return Encoded{Huffman, append(w.bytes, make([]byte, words*wordSize-len(w.bytes))...), ancillary}
}

func decodeHuffman(data, ancillary []byte, l Layout) ([]byte, error) {
	params, tables := ancillary[atParams], ancillary[headerSize:]
	first, entrySize := int(params>>firstShift)+1, 2
	if params&wide != 0 {
		entrySize = 4
	}
	if l.Width != 1 && (l.Width != 2 || entrySize == 2) {
		return nil, fmt.Errorf("values of %d bytes with entries of %d", l.Width, entrySize)
	}
	entry := func(at int) (found bool, count, value int, ok bool) {
		switch {
		case (at+1)*entrySize > len(tables):
			return false, 0, 0, false
		case entrySize == 2:
			e := int(binary.LittleEndian.Uint16(tables[2*at:]))
			return e&found16 != 0, e >> shift16 & countMask, e & value16, true
		default:
			e := int(binary.LittleEndian.Uint32(tables[4*at:]))
			return e&found32 != 0, e >> shift32 & countMask, e & value32, true
		}
	}
	out, r := make([]byte, 0, l.Count*l.Width), &bitReader{data: data}
	for i := range l.Count {
		start, bits, at := r.at, first, 0
		for {
			index, ok := r.read(bits)
			if !ok {
				return nil, fmt.Errorf("the codewords end at value %d of %d", i, l.Count)
			}
			at += int(index)
			found, count, value, ok := entry(at)
			if !ok {
				return nil, fmt.Errorf("value %d leads to entry %d, behind the tables", i, at)
			}
			if found {
				r.at -= max(0, bits-count)
				for b := range l.Width {
					out = append(out, byte(value>>(8*b)))
				}
				break
			}
			at, bits = at+value, count+1
		}
		if r.at == start {
			return nil, fmt.Errorf("value %d has a codeword of no bits", i)
		}
	}
	return out, nil
}
