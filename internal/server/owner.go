package server

import (
	"context"

	"github.com/oapi-codegen/nullable"

	"docket/internal/middleware"
	"docket/internal/store"
)

// owner returns the store's view of the owner who sent the request.
func (s *Server) owner(ctx context.Context) store.Owner {
	state := middleware.StateOf(ctx)
	return s.store.For(state.Owner).LimitScans(state.Scan)
}

// ownerIf is like owner, with the condition of an If-Match header if there is one. `*` requires that the resource
// exists, as every change does.
func (s *Server) ownerIf(ctx context.Context, ifMatch *string) store.Owner {
	match := s.tags.parse(ifMatch, "", false)
	if ifMatch == nil || match.any {
		return s.owner(ctx)
	}
	return s.owner(ctx).IfMatch(match.revisions...)
}

// optional converts a member that a client may omit.
func optional[To, T any](p *T, convert func(T) To) store.Optional[To] {
	if p == nil {
		return store.Optional[To]{}
	}
	return store.Set(convert(*p))
}

// optionalOrNull converts a member that a client may omit or set to null.
func optionalOrNull[T any](n nullable.Nullable[T]) store.Optional[*T] {
	if !n.IsSpecified() {
		return store.Optional[*T]{}
	}
	if v, err := n.Get(); err == nil {
		return store.Set(&v)
	}
	return store.Set[*T](nil)
}

func same[T any](v T) T { return v }

// text returns the value of an enumeration as a string.
func text[T ~string](v T) string { return string(v) }

// deref returns the value of an optional parameter or member, or absent if it was omitted.
func deref[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}
