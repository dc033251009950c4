package dataset

import (
	"fmt"
	"slices"
	"testing"
)

// What is taken of a resized image has the bytes that it has where the whole image is resized, and no more is resized.
func TestOnlyWhatIsTakenIsResized(t *testing.T) {
	stored := sample{shape: []int{5, 7, 3}}
	for i := range stored.grow(5 * 7 * 3) {
		stored.values[i] = float32(i*i%251) / 7
	}
	for _, method := range []Method{Bilinear, Nearest} {
		for name, change := range map[string]*change{
			"the centre": nil, "shifted": {down: 2, right: -3}, "mirrored": {right: 1, flip: true}, "out of sight": {down: 40},
			"a random place": {crop: true, padding: 2, u: [2]float64{0.05, 0.95}, flip: true},
		} {
			for _, crop := range []Size{{4, 3}, {11, 13}, {1, 13}} {
				t.Run(fmt.Sprintf("%s, %s, %v", method, name, crop), func(t *testing.T) {
					r := &Resize{Height: 11, Width: 13, Method: method}
					p, err := newPipeline(&Spec{Preprocessing: Preprocessing{Resize: r, Crop: &crop}}, stored.shape, sizes{})
					if err != nil {
						t.Fatal(err)
					}
					scratch := [2]sample{{shape: stored.shape, values: slices.Clone(stored.values)}}
					got := make([]float32, p.samples)
					if err := p.arrange(&scratch, got, change); err != nil {
						t.Fatal(err)
					}
					if most := max(crop.Height*crop.Width*3, len(stored.values)); cap(scratch[0].values) > 2*most || cap(scratch[1].values) > 2*most {
						t.Errorf("images of %d and %d numbers for one of %d", cap(scratch[0].values), cap(scratch[1].values), most)
					}
					var whole, want sample
					resize(&stored, &whole, r, window{0, 0, 11, 13})
					a, err := p.taken(11, 13, change)
					if err != nil {
						t.Fatal(err)
					}
					cut(&whole, &want, a, change != nil && change.flip)
					if !slices.Equal(got, want.values) {
						t.Errorf("got\n%v\nwant\n%v", got, want.values)
					}
				})
			}
		}
	}
}

// Of an image that is made large only the crop takes memory and time.
func TestALargeResizeWithASmallCropIsSmall(t *testing.T) {
	stored := sample{shape: []int{2, 2, 1}, values: []float32{0, 1, 2, 3}}
	p, err := newPipeline(&Spec{Preprocessing: Preprocessing{Resize: &Resize{Height: 8000, Width: 8000}, Crop: &Size{Height: 2, Width: 2}}}, stored.shape, sizes{})
	if err != nil {
		t.Fatal(err)
	}
	scratch := [2]sample{stored}
	got := make([]float32, p.samples)
	if err := p.arrange(&scratch, got, nil); err != nil {
		t.Fatal(err)
	}
	if n := cap(scratch[0].values) + cap(scratch[1].values); n > 64 {
		t.Errorf("room for %d numbers was made", n)
	}
	for i, v := range got {
		if v < 1.49 || v > 1.51 {
			t.Errorf("value %d of the middle is %v, want about 1.5", i, v)
		}
	}
}
