#!lua flags=allow-oom
-- used_calendars: nobody is about to write that user any more, or it does not name the calendars.
-- KEYS[1]  root of the calendars
-- ARGV     1 user | 2 token | 3 "1": it does not name them | then their names
-- Returns  nothing
--- @include lib/keys lib/calendars
for i = 4, #ARGV do
  local use = use_of(ARGV[i], ARGV[1])
  local _, token = read_use(use)
  if token == ARGV[2] then
    if ARGV[3] == '1' then
      redis.call('HDEL', key('p'), use)
      redis.call('ZREM', key('u'), use)
    else
      write_use(use, 0, token)
    end
  end
end
