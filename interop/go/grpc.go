package main

import (
	"context"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	gitpodv1 "example.com/gitpod-secrets/interop/go/gen/gitpod/v1"
)

// grpcClient opens clients of grpc-go on one connection, by TLS if the URL is of https.
func grpcClient(url string) (client, error) {
	address, isTLS := strings.CutPrefix(url, "https://")
	security := insecure.NewCredentials()
	if isTLS {
		security = credentials.NewTLS(nil)
	}
	target := "dns:///" + strings.TrimPrefix(address, "http://")
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(security))
	if err != nil {
		return client{}, err
	}
	open := func(token string, compress bool) secrets {
		var options []grpc.CallOption
		if compress {
			options = append(options, grpc.UseCompressor(gzip.Name))
		}
		return grpcSecrets{gitpodv1.NewSecretServiceClient(connection), token, options}
	}
	return client{open: open, violations: grpcViolations}, nil
}

// grpcViolations returns the rules that a request broke.
func grpcViolations(err error) []*validate.Violation {
	for _, detail := range status.Convert(err).Details() {
		if found, ok := detail.(*validate.Violations); ok {
			return found.GetViolations()
		}
	}
	return nil
}

// grpcSecrets gives the stub of grpc-go the methods that the scenario calls.
type grpcSecrets struct {
	stub    gitpodv1.SecretServiceClient
	token   string
	options []grpc.CallOption
}

func (s grpcSecrets) with(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+s.token)
}

func (s grpcSecrets) CreateSecret(ctx context.Context, request *gitpodv1.CreateSecretRequest) (*gitpodv1.CreateSecretResponse, error) {
	return s.stub.CreateSecret(s.with(ctx), request, s.options...)
}

func (s grpcSecrets) UpdateSecretValue(ctx context.Context, request *gitpodv1.UpdateSecretValueRequest) (*gitpodv1.UpdateSecretValueResponse, error) {
	return s.stub.UpdateSecretValue(s.with(ctx), request, s.options...)
}

func (s grpcSecrets) ListSecrets(ctx context.Context, request *gitpodv1.ListSecretsRequest) (*gitpodv1.ListSecretsResponse, error) {
	return s.stub.ListSecrets(s.with(ctx), request, s.options...)
}

func (s grpcSecrets) DeleteSecret(ctx context.Context, request *gitpodv1.DeleteSecretRequest) (*gitpodv1.DeleteSecretResponse, error) {
	return s.stub.DeleteSecret(s.with(ctx), request, s.options...)
}

func (s grpcSecrets) GetSecretValue(ctx context.Context, request *gitpodv1.GetSecretValueRequest) (*gitpodv1.GetSecretValueResponse, error) {
	return s.stub.GetSecretValue(s.with(ctx), request, s.options...)
}
