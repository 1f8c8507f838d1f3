package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// Profile is what `assay identity issue --out` wrote. It holds a private key.
type Profile struct {
	Server      string `json:"server"`      // HOST:PORT
	Authority   string `json:"authority"`   // the CA of the service, PEM
	Certificate string `json:"certificate"` // of this engine, PEM
	Key         string `json:"key"`         // PKCS #8, PEM
}

// connect makes a channel over mutual TLS 1.3. It dials with the first call.
func connect(path string) (*grpc.ClientConn, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var profile Profile
	if err := json.Unmarshal(text, &profile); err != nil {
		return nil, fmt.Errorf("%s is no profile: %w", path, err)
	}
	identity, err := tls.X509KeyPair([]byte(profile.Certificate), []byte(profile.Key))
	if err != nil {
		return nil, fmt.Errorf("%s is no profile: %w", path, err)
	}
	// The CA of the service and no other: what the system trusts does not count.
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM([]byte(profile.Authority)) {
		return nil, fmt.Errorf("%s has no certificate of a CA", path)
	}
	transport := credentials.NewTLS(&tls.Config{
		MinVersion:   tls.VersionTLS13,
		RootCAs:      authorities,
		Certificates: []tls.Certificate{identity},
	})
	return grpc.NewClient(profile.Server,
		grpc.WithTransportCredentials(transport),
		// A service that restarts is found again within seconds; the library's own pauses grow to two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 10 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// A connection that a firewall forgot is noticed, also while a watch has nothing to say.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	)
}
