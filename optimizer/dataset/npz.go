package dataset

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"strings"
)

// catalogueNPZ finds the arrays of a .npz file. Members that are stored are read in place; deflated ones are spooled. Either way a
// member is read once as a whole, so that its checksum is verified. Only those that are opened are.
func (f *files) catalogueNPZ(path string) (catalogue, error) {
	file, err := f.open(path)
	if err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(file.file, file.size)
	if err != nil {
		return nil, fmt.Errorf("%s is no .npz file, or is truncated: %w", path, err)
	}
	found, seen := catalogue{}, map[string]bool{}
	for _, member := range archive.File {
		name := strings.TrimSuffix(member.Name, ".npy")
		if seen[name] {
			return nil, fmt.Errorf("%s has two arrays %q", path, name)
		}
		seen[name] = true
		e := &entry{name: name, open: func() (*array, error) {
			a, err := f.openMember(file, member, name)
			if err != nil {
				return nil, fmt.Errorf("array %q %w", name, err)
			}
			return a, nil
		}}
		if header, err := readMemberHeader(member); err == nil { // else opening it, if it is needed, says why
			e.dims, e.kind = header.dims, header.kind
		}
		found.add(e)
	}
	return found, nil
}

// readMemberHeader reads the header of a member.
func readMemberHeader(member *zip.File) (*npyHeader, error) {
	r, err := member.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readNPYHeader(r)
}

func (f *files) openMember(file *opened, member *zip.File, name string) (*array, error) {
	r, err := member.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	header, err := readNPYHeader(r)
	if err != nil {
		return nil, err
	}
	size := int64(member.UncompressedSize64) - header.size
	a, err := newArray(name, header.kind, header.dims, nil, 0, size)
	if err != nil {
		return nil, err
	}
	if member.Method != zip.Store {
		if a.data, err = f.spool(r, size, int64(member.CompressedSize64)); errors.Is(err, zip.ErrChecksum) {
			return nil, errors.New("has a wrong checksum: damaged")
		}
		return a, err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", damaged(err))
	}
	offset, err := member.DataOffset()
	a.data, a.start = file.file, offset+header.size
	return a, err
}
