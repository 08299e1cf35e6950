package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	gitpodv1 "example.com/gitpod-secrets/interop/go/gen/gitpod/v1"
)

// memory keeps secrets in memory. Its methods are those of a handler of connect-go, and of a server of grpc-go.
type memory struct {
	gitpodv1.UnimplementedSecretServiceServer

	mutex   sync.Mutex
	secrets []*gitpodv1.Secret // the oldest first
	values  map[string]string  // by id
	refused map[string]bool    // names that begin with FLAKY
}

func newMemory() *memory {
	return &memory{values: map[string]string{}, refused: map[string]bool{}}
}

// CreateSecret stores a secret. A name that begins with FLAKY is refused once, as by a service under load.
func (m *memory) CreateSecret(_ context.Context, request *gitpodv1.CreateSecretRequest) (*gitpodv1.CreateSecretResponse, error) {
	if err := check(request); err != nil {
		return nil, err
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	name, scope := request.GetName(), request.GetScope()
	if strings.HasPrefix(name, "FLAKY") && !m.refused[name] {
		m.refused[name] = true
		delay := durationpb.New(10 * time.Millisecond)
		return nil, failure(connect.CodeUnavailable, "too many calls", &errdetails.RetryInfo{RetryDelay: delay})
	}
	for _, each := range m.secrets {
		if each.GetName() == name && proto.Equal(each.GetScope(), scope) {
			return nil, failure(connect.CodeAlreadyExists, "name: is taken in this scope")
		}
	}
	now := timestamppb.Now()
	secret := &gitpodv1.Secret{Id: newUUID(), Name: name, Scope: scope, CreatedAt: now, UpdatedAt: now}
	switch mount := request.GetMount().(type) {
	case *gitpodv1.CreateSecretRequest_FilePath:
		secret.Mount = &gitpodv1.Secret_FilePath{FilePath: mount.FilePath}
	case *gitpodv1.CreateSecretRequest_EnvironmentVariable:
		secret.Mount = &gitpodv1.Secret_EnvironmentVariable{EnvironmentVariable: true}
	case *gitpodv1.CreateSecretRequest_ContainerRegistryBasicAuthHost:
		host := mount.ContainerRegistryBasicAuthHost
		secret.Mount = &gitpodv1.Secret_ContainerRegistryBasicAuthHost{ContainerRegistryBasicAuthHost: host}
	case *gitpodv1.CreateSecretRequest_ApiOnly:
		secret.Mount = &gitpodv1.Secret_ApiOnly{ApiOnly: true}
	}
	m.secrets = append(m.secrets, secret)
	m.values[secret.GetId()] = request.GetValue()
	return &gitpodv1.CreateSecretResponse{Secret: secret}, nil
}

// UpdateSecretValue replaces the value of a secret.
func (m *memory) UpdateSecretValue(_ context.Context, request *gitpodv1.UpdateSecretValueRequest) (*gitpodv1.UpdateSecretValueResponse, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if _, err := m.find(request, request.GetSecretId()); err != nil {
		return nil, err
	}
	m.values[request.GetSecretId()] = request.GetValue()
	return &gitpodv1.UpdateSecretValueResponse{}, nil
}

// ListSecrets returns a page of the secrets of a scope. The token of a page is the number of secrets before it.
func (m *memory) ListSecrets(_ context.Context, request *gitpodv1.ListSecretsRequest) (*gitpodv1.ListSecretsResponse, error) {
	if err := check(request); err != nil {
		return nil, err
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	var found []*gitpodv1.Secret
	for _, each := range m.secrets {
		if scope := request.GetFilter().GetScope(); scope == nil || proto.Equal(each.GetScope(), scope) {
			found = append(found, each)
		}
	}
	start, _ := strconv.Atoi(request.GetPagination().GetToken())
	size := int(request.GetPagination().GetPageSize())
	if size == 0 {
		size = 25
	}
	start = min(start, len(found))
	response := &gitpodv1.ListSecretsResponse{Pagination: &gitpodv1.PaginationResponse{}}
	response.Secrets = found[start:min(start+size, len(found))]
	if start+size < len(found) {
		response.Pagination.NextToken = strconv.Itoa(start + size)
	}
	return response, nil
}

// DeleteSecret removes a secret and its value.
func (m *memory) DeleteSecret(_ context.Context, request *gitpodv1.DeleteSecretRequest) (*gitpodv1.DeleteSecretResponse, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	index, err := m.find(request, request.GetSecretId())
	if err != nil {
		return nil, err
	}
	m.secrets = slices.Delete(m.secrets, index, index+1)
	delete(m.values, request.GetSecretId())
	return &gitpodv1.DeleteSecretResponse{}, nil
}

// GetSecretValue returns the value of a secret.
func (m *memory) GetSecretValue(_ context.Context, request *gitpodv1.GetSecretValueRequest) (*gitpodv1.GetSecretValueResponse, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if _, err := m.find(request, request.GetSecretId()); err != nil {
		return nil, err
	}
	return &gitpodv1.GetSecretValueResponse{Value: m.values[request.GetSecretId()]}, nil
}

// find checks a request, and returns the index of the secret that it names.
func (m *memory) find(request proto.Message, id string) (int, error) {
	if err := check(request); err != nil {
		return 0, err
	}
	index := slices.IndexFunc(m.secrets, func(each *gitpodv1.Secret) bool { return each.GetId() == id })
	if index < 0 {
		return 0, failure(connect.CodeNotFound, "secret_id: no such secret")
	}
	return index, nil
}

// check returns an error with the rules that the request breaks.
func check(request proto.Message) error {
	var invalid *protovalidate.ValidationError
	if err := protovalidate.Validate(request); errors.As(err, &invalid) {
		return failure(connect.CodeInvalidArgument, "the request breaks rules", invalid.ToProto())
	} else if err != nil {
		return failure(connect.CodeInternal, "the rules cannot be checked")
	}
	return nil
}

// failure returns an error with details.
func failure(code connect.Code, message string, details ...proto.Message) error {
	failed := connect.NewError(code, errors.New(message))
	for _, each := range details {
		if detail, err := connect.NewErrorDetail(each); err == nil {
			failed.AddDetail(detail)
		}
	}
	return failed
}

// newUUID returns a random UUID.
func newUUID() string {
	id := make([]byte, 16)
	rand.Read(id)
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
