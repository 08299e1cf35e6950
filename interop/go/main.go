// The command go runs one scenario against gitpod.v1.SecretService by connect-go and grpc-go, in each protocol and codec
// that they speak. It prints a line for each: client, protocol, codec and result, with tabs between them.
//
// GITPOD_BASE_URL is where the service speaks Connect and gRPC-Web, GITPOD_GRPC_URL where it speaks gRPC. GITPOD_API_KEY
// is the token.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"connectrpc.com/connect"
)

type flavour struct {
	library, protocol, codec string
	client                   client
}

func main() {
	url, grpcURL, token := os.Getenv("GITPOD_BASE_URL"), os.Getenv("GITPOD_GRPC_URL"), os.Getenv("GITPOD_API_KEY")
	direct, err := grpcClient(grpcURL)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	json, get, web := connect.WithProtoJSON(), connect.WithHTTPGet(), connect.WithGRPCWeb()
	flavours := []flavour{
		{"connect-go", "connect", "binary", connectClient(url)},
		{"connect-go", "connect", "json", connectClient(url, json)},
		{"connect-go", "connect GET", "binary", connectClient(url, get)},
		{"connect-go", "connect GET", "json", connectClient(url, get, json)},
		{"connect-go", "grpc-web", "binary", connectClient(url, web)},
		{"connect-go", "grpc-web", "json", connectClient(url, web, json)},
		{"connect-go", "grpc", "binary", connectGRPCClient(grpcURL)},
		{"connect-go", "grpc", "json", connectGRPCClient(grpcURL, json)},
		{"grpc-go", "grpc", "binary", direct},
	}
	for _, each := range flavours {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		result := "ok"
		if err := run(ctx, each.client, token); err != nil {
			result = err.Error()
		}
		cancel()
		fmt.Printf("%s\t%s\t%s\t%s\n", each.library, each.protocol, each.codec, result)
	}
}
