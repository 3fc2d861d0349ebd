package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// file is a file of an archive.
type file struct {
	name    string
	content []byte
	mode    fs.FileMode
}

// pack writes an archive to out. Nothing in it depends on who writes it, where and when: the files are sorted, belong to
// user 0 and have the time of the commit, and the header of gzip has no name and no time.
func (r *release) pack(name string, files []file) error {
	byName(files)
	var archive bytes.Buffer
	compressed, err := gzip.NewWriterLevel(&archive, gzip.BestCompression)
	if err != nil {
		return err
	}
	writer := tar.NewWriter(compressed)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: int64(f.mode), Size: int64(len(f.content)), ModTime: r.time, Format: tar.FormatUSTAR}
		if err := writer.WriteHeader(header); err != nil {
			return err
		}
		if _, err := writer.Write(f.content); err != nil {
			return err
		}
	}
	if err := errors.Join(writer.Close(), compressed.Close()); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, name), archive.Bytes(), 0o644)
}

// unpack returns the files of a compressed archive.
func unpack(name string) ([]file, error) {
	archive, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	compressed, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	return readTar(compressed)
}

// readTar returns the files of an archive, with the modes of a release. There are no links, and folders are left out.
func readTar(archive io.Reader) (files []file, err error) {
	for reader := tar.NewReader(archive); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			return nil, err
		}
		files = append(files, file{header.Name, content, mode(fs.FileMode(header.Mode))})
	}
}
