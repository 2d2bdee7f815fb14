-- calendars: what hangs under their root, which is in one hash slot. A user is "queue/schedule_id", and a use of a calendar
-- "name/user": neither names nor queues have a slash.
--   :c  HASH  name -> 8 bytes of revision, then the calendar (store/calendar_records.py)
--   :n  ZSET  their names, by name
--   :u  ZSET  uses, by name
--   :p  HASH  use -> I6 ms since when it is pending, 0 where it is not; then 16 characters of its token
--   :t  SET   names of those whose last change may not have come to all users
local function use_of(name, user)
  return name .. '/' .. user
end

local function read_use(use)
  local stored = redis.call('HGET', key('p'), use)
  if not stored then return 0, '' end
  return struct.unpack('>I6c16', stored)
end

local function write_use(use, since, token)
  redis.call('HSET', key('p'), use, struct.pack('>I6c16', since, token))
  redis.call('ZADD', key('u'), 0, use)
end

-- Uses of a calendar, after a user, "" from the first on. "0" is what comes after a slash.
local function uses(name, after, limit)
  return redis.call('ZRANGEBYLEX', key('u'), '(' .. name .. '/' .. after, '(' .. name .. '0', 'LIMIT', 0, limit)
end
