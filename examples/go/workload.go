package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	assayv1 "example.com/orchestrator/gen/assay/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Workload is what somebody wants to run, and what its hosts must be.
type Workload struct {
	Name     string `json:"name"`
	Replicas int    `json:"replicas"`
	// The lowest status: AFFIRMING, or WARNING where a warning is good enough.
	Tier string `json:"tier"`
	// The trust policy that must have judged the host. Name it where a certain one is meant: operators can give hosts another.
	Policy string `json:"policy"`
	// Labels that the host must have.
	Labels map[string]string `json:"labels"`
	// Replicas stand on hosts of different values of this label, as far as there are some.
	SpreadBy string `json:"spread_by"`
	// The evidence of the host is at most so old; 0 means as old as the verdict is valid.
	MaximumAgeSeconds int `json:"maximum_age_seconds"`
}

func readWorkloads(path string) ([]Workload, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var workloads []Workload
	if err := json.Unmarshal(text, &workloads); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	names := map[string]bool{}
	for _, workload := range workloads {
		if workload.Name == "" || names[workload.Name] || workload.Replicas < 1 {
			return nil, fmt.Errorf("%s: a workload needs a name of its own and replicas", path)
		}
		if _, known := tiers[workload.Tier]; !known {
			return nil, fmt.Errorf("%s: %s has the tier %q", path, workload.Name, workload.Tier)
		}
		names[workload.Name] = true
	}
	return workloads, nil
}

var tiers = map[string]assayv1.PlacementTier{
	"":          assayv1.PlacementTier_PLACEMENT_TIER_AFFIRMING,
	"AFFIRMING": assayv1.PlacementTier_PLACEMENT_TIER_AFFIRMING,
	"WARNING":   assayv1.PlacementTier_PLACEMENT_TIER_WARNING,
}

// Requirements are the same for the selection and for the check at the binding.
func (w Workload) Requirements() *assayv1.PlacementRequirements {
	requirements := &assayv1.PlacementRequirements{MinimumTier: tiers[w.Tier], MatchLabels: w.Labels}
	if w.Policy != "" {
		requirements.TrustPolicy = "trustPolicies/" + w.Policy
	}
	if w.MaximumAgeSeconds > 0 {
		requirements.MaximumAge = durationpb.New(time.Duration(w.MaximumAgeSeconds) * time.Second)
	}
	return requirements
}
