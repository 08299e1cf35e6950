package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gitpodv1 "example.com/gitpod-secrets/interop/go/gen/gitpod/v1"
)

// secrets is the service as both libraries offer it.
type secrets interface {
	CreateSecret(context.Context, *gitpodv1.CreateSecretRequest) (*gitpodv1.CreateSecretResponse, error)
	UpdateSecretValue(context.Context, *gitpodv1.UpdateSecretValueRequest) (*gitpodv1.UpdateSecretValueResponse, error)
	ListSecrets(context.Context, *gitpodv1.ListSecretsRequest) (*gitpodv1.ListSecretsResponse, error)
	DeleteSecret(context.Context, *gitpodv1.DeleteSecretRequest) (*gitpodv1.DeleteSecretResponse, error)
	GetSecretValue(context.Context, *gitpodv1.GetSecretValueRequest) (*gitpodv1.GetSecretValueResponse, error)
}

// client is one library in one protocol and codec: how to call by a token, with or without gzip, and how to read the
// rules that an error names.
type client struct {
	open       func(token string, compress bool) secrets
	violations func(error) []*validate.Violation
}

// run goes through the scenario in a project of its own, and returns what was not as it should be.
func run(ctx context.Context, client client, token string) error {
	api := client.open(token, false)
	scope := &gitpodv1.SecretScope{Scope: &gitpodv1.SecretScope_ProjectId{ProjectId: newUUID()}}
	made, err := createThree(ctx, api, scope)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	steps := []struct {
		name string
		run  func() error
	}{
		{"conflict", func() error {
			_, err := api.CreateSecret(ctx, environmentVariable(scope))
			return expect(err, codes.AlreadyExists)
		}},
		{"list", func() error { return list(ctx, api, scope, made) }},
		{"get, update, delete", func() error { return change(ctx, api, made[0]) }},
		{"broken rules", func() error { return brokenRules(ctx, client, api, scope) }},
		{"unauthenticated", func() error {
			_, err := client.open("unknown", false).ListSecrets(ctx, &gitpodv1.ListSecretsRequest{})
			return expect(err, codes.Unauthenticated)
		}},
		{"deadline", func() error {
			short, cancel := context.WithTimeout(ctx, time.Microsecond)
			defer cancel()
			_, err := api.ListSecrets(short, &gitpodv1.ListSecretsRequest{})
			return expect(err, codes.DeadlineExceeded)
		}},
		{"longest value", func() error { return longestValue(ctx, api, scope, "LONGEST") }},
		{"gzip", func() error { return longestValue(ctx, client.open(token, true), scope, "COMPRESSED") }},
	}
	for _, step := range steps {
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func environmentVariable(scope *gitpodv1.SecretScope) *gitpodv1.CreateSecretRequest {
	return &gitpodv1.CreateSecretRequest{
		Name:  "DATABASE_URL",
		Value: "postgresql://user:pass@localhost:5432/db",
		Scope: scope,
		Mount: &gitpodv1.CreateSecretRequest_EnvironmentVariable{EnvironmentVariable: true},
	}
}

// createThree stores an environment variable, a file and a registry login, and returns their ids.
func createThree(ctx context.Context, api secrets, scope *gitpodv1.SecretScope) ([]string, error) {
	requests := []*gitpodv1.CreateSecretRequest{
		environmentVariable(scope),
		{
			Name:  "SSH_KEY",
			Value: "-----BEGIN RSA PRIVATE KEY-----\n...",
			Scope: scope,
			Mount: &gitpodv1.CreateSecretRequest_FilePath{FilePath: "/home/gitpod/.ssh/id_rsa"},
		},
		{
			Name:  "DOCKER_AUTH",
			Value: "username:password",
			Scope: scope,
			Mount: &gitpodv1.CreateSecretRequest_ContainerRegistryBasicAuthHost{
				ContainerRegistryBasicAuthHost: "https://registry.example.com",
			},
		},
	}
	var ids []string
	for _, request := range requests {
		// The rules are in the contract, so a client can check them before it sends.
		if err := protovalidate.Validate(request); err != nil {
			return nil, err
		}
		response, err := api.CreateSecret(ctx, request)
		if err != nil {
			return nil, err
		}
		secret := response.GetSecret()
		if secret.GetName() != request.GetName() || secret.GetCreatedAt() == nil {
			return nil, errors.New("another secret came back")
		}
		ids = append(ids, secret.GetId())
	}
	return ids, nil
}

// list reads the secrets of the scope two at a time.
func list(ctx context.Context, api secrets, scope *gitpodv1.SecretScope, want []string) error {
	var ids []string
	page := &gitpodv1.PaginationRequest{PageSize: 2}
	for {
		request := &gitpodv1.ListSecretsRequest{Pagination: page, Filter: &gitpodv1.ListSecretsRequest_Filter{Scope: scope}}
		response, err := api.ListSecrets(ctx, request)
		if err != nil {
			return err
		}
		for _, secret := range response.GetSecrets() {
			ids = append(ids, secret.GetId())
		}
		page.Token = response.GetPagination().GetNextToken()
		if page.Token == "" {
			break
		}
	}
	if !slices.Equal(ids, want) {
		return fmt.Errorf("%d secrets, or another order, instead of %d", len(ids), len(want))
	}
	return nil
}

// change reads a value, replaces it, and removes the secret.
func change(ctx context.Context, api secrets, id string) error {
	if err := valueIs(ctx, api, id, "postgresql://user:pass@localhost:5432/db"); err != nil {
		return err
	}
	if _, err := api.UpdateSecretValue(ctx, &gitpodv1.UpdateSecretValueRequest{SecretId: id, Value: "changed"}); err != nil {
		return err
	}
	if err := valueIs(ctx, api, id, "changed"); err != nil {
		return err
	}
	if _, err := api.DeleteSecret(ctx, &gitpodv1.DeleteSecretRequest{SecretId: id}); err != nil {
		return err
	}
	_, err := api.GetSecretValue(ctx, &gitpodv1.GetSecretValueRequest{SecretId: id})
	return expect(err, codes.NotFound)
}

func valueIs(ctx context.Context, api secrets, id, want string) error {
	response, err := api.GetSecretValue(ctx, &gitpodv1.GetSecretValueRequest{SecretId: id})
	if err != nil {
		return err
	}
	if response.GetValue() != want {
		return errors.New("another value came back")
	}
	return nil
}

// brokenRules sends a request that breaks three rules. The service names the same rules as protovalidate does here.
func brokenRules(ctx context.Context, client client, api secrets, scope *gitpodv1.SecretScope) error {
	request := &gitpodv1.CreateSecretRequest{
		Name:  "a-b",
		Value: strings.Repeat("x", 10_241),
		Scope: scope,
		Mount: &gitpodv1.CreateSecretRequest_FilePath{FilePath: "relative"},
	}
	_, err := api.CreateSecret(ctx, request)
	if err := expect(err, codes.InvalidArgument); err != nil {
		return err
	}
	var local *protovalidate.ValidationError
	if !errors.As(protovalidate.Validate(request), &local) {
		return errors.New("protovalidate finds no broken rule")
	}
	want, got := rules(local.ToProto().GetViolations()), rules(client.violations(err))
	if !slices.Equal(got, want) || len(got) != 3 {
		return fmt.Errorf("the service names %v, protovalidate %v", got, want)
	}
	return nil
}

// rules returns the fields and the rules that they break.
func rules(violations []*validate.Violation) []string {
	var found []string
	for _, each := range violations {
		found = append(found, protovalidate.FieldPathString(each.GetField())+" "+each.GetRuleId())
	}
	slices.Sort(found)
	return found
}

// longestValue stores the longest value, in characters of four bytes, and reads it. One more is too long.
func longestValue(ctx context.Context, api secrets, scope *gitpodv1.SecretScope, name string) error {
	value := strings.Repeat("😀", 10_240)
	request := &gitpodv1.CreateSecretRequest{
		Name:  name,
		Value: value,
		Scope: scope,
		Mount: &gitpodv1.CreateSecretRequest_ApiOnly{ApiOnly: true},
	}
	response, err := api.CreateSecret(ctx, request)
	if err != nil {
		return err
	}
	if err := valueIs(ctx, api, response.GetSecret().GetId(), value); err != nil {
		return err
	}
	request.Value += "😀"
	_, err = api.CreateSecret(ctx, request)
	return expect(err, codes.InvalidArgument)
}

// expect checks the code of an error. The codes of Connect and gRPC are the same numbers.
func expect(err error, want codes.Code) error {
	if err == nil {
		return fmt.Errorf("the call succeeds instead of %v", want)
	}
	got := status.Code(err)
	var failure *connect.Error
	if errors.As(err, &failure) {
		got = codes.Code(failure.Code())
	}
	if got != want {
		return fmt.Errorf("%v instead of %v", got, want)
	}
	return nil
}

// newUUID returns a random UUID.
func newUUID() string {
	id := make([]byte, 16)
	rand.Read(id)
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
