#!lua flags=no-writes
-- workers: what servers say of who runs jobs, as long as it is good.
-- KEYS[1]  HASH of workers, as announce writes it
-- Returns  {{server's name, seen_ms, what it says}, ...}
--- @include lib/clock
local found, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local good, seen = struct.unpack('>I6I6', all[i + 1])
  if good >= NOW then found[#found + 1] = {all[i], seen, string.sub(all[i + 1], 13)} end
end
return found
