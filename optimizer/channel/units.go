package channel

// units are channels that go or stay together: sets under union, some of which are fixed.
type units struct {
	parent []int
	fixed  map[int]string // by root: why the unit stays
}

// fresh makes n units.
func (u *units) fresh(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = len(u.parent)
		u.parent = append(u.parent, list[i])
	}
	return list
}

// find returns the root of a unit's set.
func (u *units) find(x int) int {
	for u.parent[x] != x {
		u.parent[x] = u.parent[u.parent[x]]
		x = u.parent[x]
	}
	return x
}

// join unites two units. The lower root stays one, and the reason that was there first.
func (u *units) join(a, b int) {
	a, b = u.find(a), u.find(b)
	if a == b {
		return
	}
	a, b = min(a, b), max(a, b)
	u.parent[b] = a
	if why, ok := u.fixed[b]; ok {
		delete(u.fixed, b)
		if _, ok := u.fixed[a]; !ok {
			u.fixed[a] = why
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
		if r := u.find(x); u.fixed[r] == "" {
			u.fixed[r] = why
		}
	}
}
