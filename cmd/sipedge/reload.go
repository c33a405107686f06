package main

import (
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"
)

// followHangup reads the certificates and the policy again on SIGHUP, until p.ctx ends. (That the certificates are read when
// they change is the business of the TLS layer; a policy counts only when it is finished, which its editor has to say.)
func (p *proxy) followHangup(log *zap.Logger, hangup chan os.Signal) {
	defer signal.Stop(hangup)
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-hangup:
		}
		if p.tls != nil {
			if err := p.tls.Reload(); err != nil {
				log.Error("the certificates stay as they were", zap.Error(err))
			} else {
				log.Info("certificates read")
			}
		}
		p.policy.reload(p.core)
	}
}

// onHangup begins to listen for SIGHUP, which would end the process otherwise.
func onHangup() chan os.Signal {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	return hangup
}
