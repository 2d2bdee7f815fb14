#!lua flags=no-writes
-- calendar_users: who is written down for a calendar.
-- KEYS[1]  root of the calendars
-- ARGV     1 name | 2 the user after whom they begin, "" with the first | 3 how many at most
-- Returns  {{user, token, 1 if it is pending, else 0}, ...}
-- Bounds   the caller asks for at most 100
--- @include lib/keys lib/clock lib/calendars
local found = {}
for _, use in ipairs(uses(ARGV[1], ARGV[2], ARGV[3])) do
  local since, token = read_use(use)
  found[#found + 1] = {string.sub(use, #ARGV[1] + 2), token, NOW - since < PENDING_MS and 1 or 0}
end
return found
