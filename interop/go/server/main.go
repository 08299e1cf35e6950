// The command server is gitpod.v1.SecretService in memory, for clients to be tried with: by connect-go, which speaks
// Connect, gRPC-Web and gRPC on one port, and by grpc-go on another. It prints the URL of each on a line, and ends when
// its standard input does. GITPOD_API_KEY is the token that it accepts.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // reads compressed requests
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	gitpodv1 "example.com/gitpod-secrets/interop/go/gen/gitpod/v1"
	"example.com/gitpod-secrets/interop/go/gen/gitpod/v1/gitpodv1connect"
)

func main() {
	if err := serve("Bearer " + os.Getenv("GITPOD_API_KEY")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(authorization string) error {
	service := newMemory()
	for _, start := range []func(net.Listener, *memory, string) error{serveConnect, serveGRPC} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		go start(listener, service, authorization)
		fmt.Printf("http://%s\n", listener.Addr())
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func serveConnect(listener net.Listener, service *memory, authorization string) error {
	authenticate := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
			if request.Header().Get("Authorization") != authorization {
				return nil, failure(connect.CodeUnauthenticated, "no such token")
			}
			return next(ctx, request)
		}
	})
	mux := http.NewServeMux()
	mux.Handle(gitpodv1connect.NewSecretServiceHandler(service, connect.WithInterceptors(authenticate)))
	server := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true) // gRPC without TLS
	return server.Serve(listener)
}

func serveGRPC(listener net.Listener, service *memory, authorization string) error {
	intercept := func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if given := metadata.ValueFromIncomingContext(ctx, "authorization"); len(given) != 1 || given[0] != authorization {
			return nil, status.Error(codes.Unauthenticated, "no such token")
		}
		response, err := next(ctx, request)
		return response, asStatus(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(intercept))
	gitpodv1.RegisterSecretServiceServer(server, service)
	return server.Serve(listener)
}

// asStatus returns an error of connect-go as one of grpc-go. The codes are the same numbers.
func asStatus(err error) error {
	var failed *connect.Error
	if !errors.As(err, &failed) {
		return err
	}
	var details []protoadapt.MessageV1
	for _, each := range failed.Details() {
		if detail, err := each.Value(); err == nil {
			details = append(details, protoadapt.MessageV1Of(detail))
		}
	}
	found := status.New(codes.Code(failed.Code()), failed.Message())
	if detailed, err := found.WithDetails(details...); err == nil {
		found = detailed
	}
	return found.Err()
}
