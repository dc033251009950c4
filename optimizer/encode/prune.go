package encode

import "fmt"

// prune encodes int8 values with zero points of 0.
func prune(data []byte, l Layout) (Encoded, bool) {
	if l.Zero != nil {
		return Encoded{}, false
	}
	w, ancillary := &bitWriter{}, header(Prune)
	for _, v := range data {
		if v == 0 {
			w.write(0, 1)
			continue
		}
		w.write(1, 1)
		ancillary = append(ancillary, v)
	}
	return Encoded{Prune, w.bytes, ancillary}, true
}

func decodePruned(data, values []byte, l Layout) ([]byte, error) {
	out, r := make([]byte, 0, l.Count*l.Width), &bitReader{data: data}
	for i := range l.Count {
		kept, ok := r.read(1)
		switch {
		case !ok:
			return nil, fmt.Errorf("the bits end at value %d of %d", i, l.Count)
		case kept == 0:
			zero := 0
			if l.Zero != nil {
				zero = l.Zero[l.channel(i)]
			}
			for b := range l.Width {
				out = append(out, byte(zero>>min(8*b, 63)))
			}
		case len(values) < l.Width:
			return nil, fmt.Errorf("the values end at value %d of %d", i, l.Count)
		default:
			out, values = append(out, values[:l.Width]...), values[l.Width:]
		}
	}
	return out, nil
}
