#!lua flags=no-writes
-- cursor: where a queue's stream of changes ends now.
-- KEYS[1]  root of the queue
-- Returns  {epoch or "", changes so far, last entry or "0-0"}
--- @include lib/keys
local found = redis.call('HMGET', key('q'), 'epoch', 'v')
local last = redis.call('XREVRANGE', key('v'), '+', '-', 'COUNT', 1)
return {found[1] or '', tonumber(found[2] or 0), last[1] and last[1][1] or '0-0'}
