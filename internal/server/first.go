package server

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// setupLife is how long the link for the first operator is good: whoever started the server sits there.
const setupLife = time.Hour

// inviteFirst tells how the first operator gets in, as long as there is none. At a terminal it is a link, which is a secret: it goes
// there and nowhere else, and another one that was told before is good no more. Where nobody sits, what is written is kept, in a
// journal that others may read: there it is the command that prints a link. That nobody could be told keeps no server from serving.
func (s *Server) inviteFirst(ctx context.Context) {
	c := s.config()
	if !c.Dashboard.Enabled {
		return
	}
	if there, err := s.opened.DB.HasOperators(ctx); err != nil || there {
		if err != nil {
			s.log.Warn("whether there is an operator could not be known", "error", err)
		}
		return
	}
	if s.options.Terminal == nil {
		s.log.Info("nobody can sign in to the operators' dashboard yet: gatehouse operator create --email E-MAIL --name NAME prints a link that lets the first one in", "dashboard", c.Dashboard.AdminURL+"/dashboard/")
		return
	}
	code, err := s.people.InviteFirst(ctx, setupLife)
	if err != nil {
		s.log.Warn("no link for the first operator could be made: gatehouse operator create prints one", "error", err)
		return
	}
	if code == "" {
		return
	}
	fmt.Fprintf(s.options.Terminal, `Nobody can sign in to the operators' dashboard yet. This link lets the first operator in, once, until %s:

  %s

The next start makes another one, and so does gatehouse operator create --email E-MAIL --name NAME
`, s.opened.DB.Now().Add(setupLife).Local().Format("15:04 MST"), auth.JoinLink(c.Dashboard.AdminURL, code))
}
