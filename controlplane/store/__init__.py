"""What must survive: model records, rollouts, their events and idempotency keys. `sql` keeps them, `memory` is the twin."""
