-- candidates: what a claim may lease next, best first: heads of rows of keys, and the first of the rows of types.
local heads, at = {}, 1

-- How many a claim may take of each type, and of how many of each type's row it looks.
local function wanted_of(limit)
  local left, types, fetch = {}, 0, limit
  for i = 5, #ARGV, 2 do left[ARGV[i]], types = math.min(tonumber(ARGV[i + 1]), limit), types + 1 end
  if types > 10 then fetch = math.max(4, math.ceil(2 * limit / types)) end
  return left, fetch
end

local function is_before(one, other)
  return one.score < other.score or (one.score == other.score and one.member < other.member)
end

-- Reads `size` of a row, of which `most` could be taken. A row that is cut must not be passed by: what stands next in it
-- was not read. Of heads some may have to be parked, so it is cut wherever there may be more.
local function read_row(name, type, keyed, size, most)
  if size <= 0 then return end
  local row = redis.call('ZRANGE', key(name), 0, size - 1, 'WITHSCORES')
  local from = {name = name, left = #row / 2, cut = #row == 2 * size and (keyed or size < most)}
  for i = 1, #row, 2 do
    heads[#heads + 1] = {member = row[i], score = tonumber(row[i + 1]), type = type, keyed = keyed, from = from}
  end
end

-- One of a row was looked at: whether it was the last that was read, and there may be more.
local function read_up(from)
  from.left = from.left - 1
  return from.left == 0 and from.cut
end

-- Puts one in its place among those that are left.
local function put_in(one)
  local i = #heads
  while i >= at and is_before(one, heads[i]) do
    heads[i + 1] = heads[i]
    i = i - 1
  end
  heads[i + 1] = one
end

-- Rows of keys of which jobs began: {type, key, head, how many began, member: its head's among heads, where that is known;
-- settled: what stands in its place is known, too: next, score, or none (false)}.
local begun = {}

-- Puts what comes next in the place of heads that begin, without asking what is known; a commit does so with the others.
local function settle_heads()
  local fair = in_mode(filing, FAIR)
  for name, row in pairs(begun) do
    if row.settled then
      keyed_rows[name] = row  -- so a commit does not look at it
      local out, into = list_of('ZREM', heads_of(row.type)), row.next and list_of('ZADD', heads_of(row.type))
      out[#out + 1] = row.member
      if into then
        into[#into + 1] = string.format('%d', row.score)
        into[#into + 1] = row.next
        if fair then redis.call('HSET', key('t' .. row.key), row.type, 'O' .. string.sub(row.next, 1, 6)) end
      else
        if fair then forget_row(row.type, row.key) else redis.call('HDEL', key('t' .. row.key), row.type) end
      end
    end
  end
end

local tags = {}  -- of the next turn of each key that had one in this claim: {tag, when it was given}

local function tag_of_now(k, head)
  if tags[k] then return tags[k][1], struct.pack('>I6', tags[k][2]) end
  return tag_of(k, head)
end

local function write_tags(turn, turns)
  local list = {}
  for k, tag in pairs(tags) do
    list[#list + 1] = k
    list[#list + 1] = string.format('%d %d', tag[1], tag[2])
  end
  redis.call('HSET', key('T'), unpack(list))
  redis.call('HSET', key('q'), 'turn', string.format('%d', turn), 'turns', string.format('%d', turns))
end
