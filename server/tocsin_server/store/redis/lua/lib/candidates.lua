-- candidates: what a claim may lease next, best first: heads of rows of keys, and the first of the rows of types.
local heads, at, rows_read = {}, 1, 0
local by_age = false  -- they go by levels (lib/levels); where keys take turns, their heads go by tags

-- How many a claim may take of each type, and of how many of each type's row it looks.
local function wanted_of(limit)
  local left, types, fetch = {}, 0, limit
  for i = 5, #ARGV, 2 do left[ARGV[i]], types = math.min(tonumber(ARGV[i + 1]), limit), types + 1 end
  if types > 10 then fetch = math.max(4, math.ceil(2 * limit / types)) end
  return left, fetch
end

local function is_before(one, other)
  if by_age then return goes_first(one, other) end
  return one.score < other.score or (one.score == other.score and one.member < other.member)
end

-- Reads `size` of a row, of which `most` could be taken. A row that is cut must not be passed by: what stands next in it
-- was not read. Of heads some may have to be parked, so it is cut wherever there may be more.
local function read_row(name, type, keyed, size, most)
  if size <= 0 then return end
  if by_age then
    for _, level in ipairs(read_levels(name)) do
      rows_read = rows_read + 1
      local from = {name = name, left = 1, cut = false, behind = size - 1, most = most}
      heads[#heads + 1] = {member = level.member, score = level.score, type = type, keyed = keyed, from = from,
        job = false, body = false}
    end
    return
  end
  local row = redis.call('ZRANGE', key(name), 0, size - 1, 'WITHSCORES')
  if #row > 0 then rows_read = rows_read + 1 end
  local from = {name = name, left = #row / 2, cut = #row == 2 * size and (keyed or size < most)}
  for i = 1, #row, 2 do
    heads[#heads + 1] = {member = row[i], score = tonumber(row[i + 1]), type = type, keyed = keyed, from = from, job = false,
      body = false}
  end
end

-- One of a row was looked at: whether it was the last that was read, and there may be more.
local function read_up(from)
  from.left = from.left - 1
  return from.left == 0 and from.cut
end

local known_tags = {}  -- by key, what T says (lib/turns); false: nothing

-- Reads the jobs of so many that come next, and the tags of their keys as one question.
local function read_jobs(number)
  local keys, size = {}, 0
  for i = at, math.min(#heads, at + number - 1) do
    local one = heads[i]
    if not one.job then
      local arrival, meta, own = string.sub(one.member, -6), nil, nil
      meta, own, one.body = read_full(arrival)
      local job = meta and job_of(struct.unpack('>I6', arrival), arrival, meta, own)
      one.job = job or 'none'
      if job and job.key and known_tags[job.key] == nil then keys[#keys + 1] = job.key end
      size = size + #(one.body or '')
      if size > 1048576 then break end
    end
  end
  if #keys == 0 or not in_mode(filing, FAIR) then return end
  local said = redis.call('HMGET', key('T'), unpack(keys))
  for i, k in ipairs(keys) do known_tags[k] = said[i] end
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

-- Of a level the first was read alone. It is looked at now: what stands behind it comes among the candidates, before anything
-- is taken from the level.
local function read_on(one)
  local from, level, row = one.from, string.format('%d', one.score), {}
  local behind = from.behind
  if not behind then return end
  if behind > 0 then row = redis.call('ZRANGEBYSCORE', key(from.name), level, level, 'LIMIT', '1', behind) end
  from.left, from.cut, from.behind = 1 + #row, #row == behind and (one.keyed or behind + 1 < from.most), false
  for _, member in ipairs(row) do
    put_in({member = member, score = one.score, type = one.type, keyed = one.keyed, from = from, job = false, body = false})
  end
end

-- Rows of keys of which jobs began: {type, key, head, how many began, member: its head's among heads, where that is known;
-- settled: what stands in its place is known, too: next, a head, or none (false); named: T says how that stands}.
local begun = {}

-- What comes behind one of a row of which `row.count` begin, and its score.
local function behind_begun(row, name, one)
  local mode = read_mode()
  if not (in_mode(mode, AGEING) or in_mode(mode, REFILING)) then
    local nth = row.count == 1 and '1' or row.count  -- a number costs as much to hand over as a lookup
    if in_mode(mode, FAIR) then return redis.call('ZRANGE', key(name), nth, nth)[1] end
    local following = redis.call('ZRANGE', key(name), nth, nth, 'WITHSCORES')
    return following[1], tonumber(following[2])
  end
  row.levels = row.levels or read_levels(name)
  for i, level in ipairs(row.levels) do
    if level.member == string.sub(one.member, -12) then
      local of = string.format('%d', level.score)
      level.nth = level.nth + 1
      level.member = redis.call('ZRANGEBYSCORE', key(name), of, of, 'LIMIT', level.nth, '1')[1]
      if not level.member then table.remove(row.levels, i) end
      break
    end
  end
  local first = first_among(row.levels)
  return first and first.member, first and first.score
end

-- Puts what comes next in the place of heads that begin, without asking what is known; a commit does so with the others.
local function settle_heads()
  local fair = in_mode(filing, FAIR)
  for name, row in pairs(begun) do
    if row.settled then
      keyed_rows[name] = row  -- so a commit does not look at it
      local heads_now = heads_of(row.type)
      local out, into = list_of('ZREM', heads_now), row.next and list_of('ZADD', heads_now)
      out[#out + 1] = row.member
      if into then
        local i = #into
        into[i + 1], into[i + 2] = string.format('%d', row.next.score), row.next.member
        if fair and not row.named then
          redis.call('HSET', key('t' .. row.key), row.type, 'O' .. string.sub(row.next.member, 1, 6))
        end
      else
        if fair then forget_row(row.type, row.key) else redis.call('HDEL', key('t' .. row.key), row.type) end
      end
    end
  end
end

local tags = {}  -- of the next turn of each key that had one in this claim: {tag, when it was given, the row that had it}

-- Where a head stands among others whose key had a turn since that was found out: its tag, and when it was given; nil where
-- it stands as it should.
local function moved_on(one, k)
  local now, said, tag, given = tags[k], known_tags[k], nil, nil
  if now then
    if now[1] <= one.score then return nil end
    return now[1], struct.pack('>I6', now[2])
  end
  if said and string.byte(said) == 0 and struct.unpack('>I7', said, 2) <= one.score then return nil end  -- as of most
  if said then tag, given = read_tag(said) else tag, given = tag_of(k, string.sub(one.member, -12)) end
  if tag > one.score then return tag, given end
end

-- T named a type of this key, and does so no longer: where its head stands open, t says how.
local function keep_standing(k, type, given)
  local stands = redis.call('HGET', key('t' .. k), type)
  if stands and is_open(stands) then redis.call('HSET', key('t' .. k), type, 'O' .. given) end
end

-- `settles`: whether rows that are settled will be (settle_heads), of which each says itself how it stands.
local function write_tags(turn, turns, settles)
  local list, i = {}, 0
  for k, tag in pairs(tags) do
    local row, by = tag[3], ''
    if settles and row.settled and row.next then row.named, by = true, row.type end
    local said = known_tags[k]
    if said and string.sub(said, 15) ~= by then
      local _, given, before = read_tag(said)
      if before ~= '' then
        local other = settles and begun['w' .. before .. ':' .. k]
        if not (other and other.settled) then keep_standing(k, before, given) end
      end
    end
    list[i + 1], list[i + 2] = k, struct.pack('>BI7I6', 0, tag[1], tag[2]) .. by
    i = i + 2
  end
  redis.call('HSET', key('T'), unpack(list))
  redis.call('HSET', key('q'), 'turn', string.format('%d', turn), 'turns', string.format('%d', turns))
end
