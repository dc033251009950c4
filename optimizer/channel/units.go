package channel

import "espalier.dev/espalier/optimizer/union"

// units are channels that go or stay together: sets, some of which are fixed.
type units struct {
	union.Sets
	fixed map[int]string // by root: why the unit stays
}

// join unites two units. Of two reasons to stay the root's stays.
func (u *units) join(a, b int) {
	root, joined := u.Join(a, b)
	if root == joined {
		return
	}
	if why, ok := u.fixed[joined]; ok {
		delete(u.fixed, joined)
		if _, ok := u.fixed[root]; !ok {
			u.fixed[root] = why
		}
	}
}

// joinAll unites the units of two lists of one length, one by one.
func (u *units) joinAll(a, b []int) {
	for i := range a {
		u.join(a[i], b[i])
	}
}

// fix has units stay, and says why.
func (u *units) fix(list []int, why string) {
	for _, x := range list {
		if r := u.Root(x); u.fixed[r] == "" {
			u.fixed[r] = why
		}
	}
}
