#!lua flags=no-writes
-- next_look: when the first schedule that is not due is to be looked at.
-- KEYS[1]  root of the queue
-- Returns  ms as a string; nil where there is none
--- @include lib/keys lib/clock
return redis.call('ZRANGEBYSCORE', key('y'), '(' .. NOW, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
