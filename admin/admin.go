// Package admin shows people and programs what the process is doing, over HTTP.
//
// Enters: HTTP requests on a unix socket or a loopback address; counters of the other rooms.
// Leaves: /metrics in the Prometheus format, /healthz; /gateways, where members are taken out and put back.
// Never:  runs on an event loop, makes one wait, holds a lock that a loop wants.
package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Service answers requests on its own goroutines.
type Service struct {
	server   http.Server
	mux      *http.ServeMux
	draining atomic.Bool
}

// New makes a service that shows the given collectors beside those of the Go runtime and the process.
// problem is told about requests that went wrong; it is called from any goroutine.
func New(problem func(message string), sources ...prometheus.Collector) (*Service, error) {
	registry := prometheus.NewRegistry()
	sources = append(sources,
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsGC, collectors.MetricsScheduler)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, c := range sources {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("admin: %w", err)
		}
	}
	mux := http.NewServeMux()
	s := &Service{mux: mux}
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            lineLog(problem),
		MaxRequestsInFlight: maxScrapes,
		Timeout:             answerTimeout,
	}))
	mux.HandleFunc("GET /healthz", s.healthz)
	s.server = http.Server{
		Handler:           mux,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      answerTimeout + headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
	return s, nil
}

// lineLog is what promhttp wants of a log.
type lineLog func(string)

func (l lineLog) Println(v ...any) { l(fmt.Sprint(v...)) }

// Serve answers on ln until Close; it takes ln.
func (s *Service) Serve(ln net.Listener) error {
	err := s.server.Serve(limitConns(ln, maxConns))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Drain makes /healthz say that new work should go elsewhere. Safe from any goroutine.
func (s *Service) Drain() { s.draining.Store(true) }

// Close ends Serve; requests in hand have a moment to end.
func (s *Service) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		s.server.Close()
	}
}

// healthz is 200 as long as new calls are welcome.
func (s *Service) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if s.draining.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "draining")
		return
	}
	fmt.Fprintln(w, "ok")
}

// The service is for a scraper and an operator or two; these bounds keep a forgotten client
// from costing anything.
const (
	maxConns       = 64
	maxScrapes     = 4
	maxHeaderBytes = 16 << 10
	maxBody        = 4 << 10
	headerTimeout  = 5 * time.Second
	answerTimeout  = 10 * time.Second
	idleTimeout    = time.Minute
	closeTimeout   = 200 * time.Millisecond
)
