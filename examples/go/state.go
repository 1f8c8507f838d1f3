package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Binding says that a replica runs on a host.
type Binding struct {
	Workload string `json:"workload"`
	Replica  int    `json:"replica"`
	Host     string `json:"host"`
	// Value of the label that the workload is spread by.
	Spread string `json:"spread"`
}

// State is all that must outlive the engine. Token and conclusions are written together: a verdict is neither lost nor taken twice.
type State struct {
	path string
	// Behind the last message of the watch that was handled; empty: begin with the present results.
	ResumeToken string    `json:"resume_token"`
	Bindings    []Binding `json:"bindings"`
	// Hosts of which the last verdict was CONTRAINDICATED.
	Contraindicated map[string]bool `json:"contraindicated"`
	// Hosts that were listed as NONE and may have been CONTRAINDICATED before: their history is still to be read.
	Unclear map[string]bool `json:"unclear,omitempty"`
}

func readState(path string) (*State, error) {
	state := &State{path: path, Contraindicated: map[string]bool{}, Unclear: map[string]bool{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return state, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, state); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return state, nil
}

// Save replaces the file in one step: a crash leaves the former one or the new one.
func (s *State) Save() error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), s.path)
}

// Of answers the bindings of one workload.
func (s *State) Of(workload string) []Binding {
	return slices.DeleteFunc(slices.Clone(s.Bindings), func(b Binding) bool { return b.Workload != workload })
}

func (s *State) Unbind(binding Binding) {
	s.Bindings = slices.DeleteFunc(s.Bindings, func(b Binding) bool { return b == binding })
}
