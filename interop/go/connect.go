package main

import (
	"context"
	"errors"
	"net/http"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"connectrpc.com/connect"

	"example.com/gitpod-secrets/interop/go/gen/gitpod/v1/gitpodv1connect"
)

// connectClient opens clients of connect-go. The options choose the protocol and the codec.
func connectClient(url string, options ...connect.ClientOption) client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	transport.Protocols.SetHTTP2(true)
	return client{open: openConnect(url, transport, options), violations: connectViolations}
}

// connectGRPCClient is connectClient for gRPC, which needs HTTP/2. An https URL needs none of this: there, HTTP/2 is agreed
// on by TLS.
func connectGRPCClient(url string, options ...connect.ClientOption) client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP2(true)
	transport.Protocols.SetUnencryptedHTTP2(true)
	options = append(options, connect.WithGRPC())
	return client{open: openConnect(url, transport, options), violations: connectViolations}
}

func openConnect(url string, transport *http.Transport, options []connect.ClientOption) func(string, bool) secrets {
	return func(token string, compress bool) secrets {
		chosen := append([]connect.ClientOption{connect.WithInterceptors(bearer(token))}, options...)
		if compress {
			chosen = append(chosen, connect.WithSendGzip())
		}
		return gitpodv1connect.NewSecretServiceClient(&http.Client{Transport: transport}, url, chosen...)
	}
}

// bearer adds the token to each call.
func bearer(token string) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
			request.Header().Set("Authorization", "Bearer "+token)
			return next(ctx, request)
		}
	}
}

// connectViolations returns the rules that a request broke.
func connectViolations(err error) []*validate.Violation {
	var failure *connect.Error
	if !errors.As(err, &failure) {
		return nil
	}
	for _, detail := range failure.Details() {
		if value, err := detail.Value(); err == nil {
			if found, ok := value.(*validate.Violations); ok {
				return found.GetViolations()
			}
		}
	}
	return nil
}
