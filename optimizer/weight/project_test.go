package weight

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/kernel"
)

func TestCodesStaySortedDistinctAndWithinRange(t *testing.T) {
	tests := map[string]struct {
		centers     []float32
		nonzero     bool
		want        []int8
		wantCenters []float32
	}{
		"what complies does not move":                  {[]float32{-3.2, 0.1, 5}, false, []int8{-3, 0, 5}, []float32{-3.2, 0.1, 5}},
		"equal centers move apart evenly":              {[]float32{4, 4, 4}, false, []int8{3, 4, 5}, []float32{3, 4, 5}},
		"the order given does not matter":              {[]float32{6, 2}, false, []int8{2, 6}, []float32{2, 6}},
		"nothing passes 127":                           {[]float32{200, 126.9, 500}, false, []int8{125, 126, 127}, []float32{125, 126, 127}},
		"under a mask no code is zero":                 {[]float32{-0.2, 0.3}, true, []int8{-1, 1}, nil},
		"under a mask three near zero step around it":  {[]float32{0.1, 0.2, 0.3}, true, []int8{-1, 1, 2}, nil},
		"under a mask a lone center keeps its side":    {[]float32{0.2}, true, []int8{1}, []float32{0.2}},
		"centers half a code apart round to two codes": {[]float32{1.4, 1.9}, false, []int8{1, 2}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := must(NewCodebook(test.centers, MaxCode, test.nonzero))(t)
			if diff := cmp.Diff(test.want, b.Codes()); diff != "" {
				t.Errorf("codes (-want +got):\n%s", diff)
			}
			if test.wantCenters != nil {
				if diff := cmp.Diff(test.wantCenters, b.Center); diff != "" {
					t.Errorf("centers (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestEveryCodebookOfEverySizeIsValid(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := 1; n <= 254; n++ {
		for _, nonzero := range []bool{false, true} {
			centers := make([]float32, n)
			for k := range centers {
				centers[k] = float32(r.NormFloat64() * []float64{1, 40, 300}[r.IntN(3)])
			}
			b := must(NewCodebook(centers, MaxCode, nonzero))(t)
			ok(t, b.check(nonzero, MaxCode))
			before := b.Codes()
			b.project()
			if diff := cmp.Diff(before, b.Codes()); diff != "" {
				t.Fatalf("projecting twice moves %d codes:\n%s", n, diff)
			}
		}
	}
}

func TestPricesShiftBoundariesTowardsTheDearerCode(t *testing.T) {
	b := must(NewCodebook([]float32{0, 10, 20}, MaxCode, false))(t)
	if diff := cmp.Diff([]float32{5, 15}, b.boundary); diff != "" {
		t.Errorf("without prices the boundary is the middle:\n%s", diff)
	}
	ok(t, b.Price(10, []float32{0.5, 0.25, 0.25}))
	if diff := cmp.Diff([]float32{5.5, 15}, b.boundary); diff != "" {
		t.Errorf("one bit at 10 over a distance of 10 shifts by 0.5:\n%s", diff)
	}
	ok(t, b.Price(1000, []float32{0.5, 0.001, 0.499}))
	bounds := b.boundary
	if bounds[0] != bounds[1] {
		t.Errorf("a dominated code has an empty interval; boundaries %v", bounds)
	}
}

func TestBoundariesGiveTheCheapestCode(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		n := 1 + r.IntN(40)
		centers, share := make([]float32, n), make([]float32, n)
		for k := range centers {
			centers[k], share[k] = float32(r.NormFloat64()*50), float32(r.ExpFloat64())
		}
		b := must(NewCodebook(centers, MaxCode, r.IntN(2) == 0))(t)
		ok(t, b.Price(float32(r.ExpFloat64()*20), share))
		for range 100 {
			x := float32(r.NormFloat64() * 60)
			cost := func(k int) float64 {
				d := float64(x) - float64(b.code[k])
				if b.Bits == nil {
					return d * d
				}
				return d*d + float64(b.Bits[k])
			}
			var member [1]uint8
			kernel.AssignCodes(member[:], []float32{x}, b.boundary)
			k := int(member[0])
			for j := range centers {
				if cost(j) < cost(k)-1e-3 {
					t.Fatalf("latent %v: code %d costs %v, code %d only %v", x, k, cost(k), j, cost(j))
				}
			}
		}
	}
}

func TestClusteredWeightsLeanWithoutChangingTheirCodes(t *testing.T) {
	values := []float32{-8, -8, -8, 0.5, 0.5, 4}
	x := must(FromState("w", values, State{
		Shape: []int{2, 3}, Axis: 0, Mask: []uint8{1, 1, 1, 1, 1, 0}, Scope: PerTensor, Clusters: 3, Scale: []float32{0.5}, CodeSets: [][]int8{{-16, 1}},
	}))(t)
	x.Lean([]float32{-8, 3, -9, 0.25, -99, 7}) // codes -16, 6, -18, 0.5, -198 and 14; the two meet at -7.5
	if diff := cmp.Diff([]float32{-16, -11.75, -18, 0.5, -3.25, 0}, x.Latent); diff != "" {
		t.Errorf("latents (-want +got):\n%s", diff)
	}
	x.Project()
	if diff := cmp.Diff([]float32{-8, -8, -8, 0.5, 0.5, 0}, x.Values()); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}
