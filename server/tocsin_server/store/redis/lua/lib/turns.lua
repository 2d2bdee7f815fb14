-- turns: the heads of rows of keys, of which a claim reads the first: so its cost does not grow with how many jobs wait
-- behind them, nor with keys whose limit is full, for those are parked.
--   g<type>  heads of open rows, as they would stand in the row of their type
--   G<type>  the same where keys take turns: by tag; a member is 6 bytes of when the tag was given, and the head
--   t<key>   by type: "o", the row's head stands in g; "O" and 6 bytes, it stands so in G, unless T names the type; a
--            generation: it is parked since
--   P        parked rows, "<type>:<key>", by generation: a change of limits opens those of older ones
--   p        what will go on by itself, by its time: parked rows, and types and "" (the queue) that wait for a rate
--   T        by key with waiting jobs: B 0, I7 the tag of its next turn, I6 when that was given, and the type that had the
--            last one, if its row's head, where it is open, stands in G by these: so a turn need not write that into t.
--            A version before had "<tag> <given>", and named no type
-- Turns are start-time fair queueing (Goyal, Vin and Cheng, 1996). A turn moves its key's tag on by a round / weight; the
-- lowest tag goes first, of equal ones that which was given first; the queue's `turn` is the tag of the last one. A key
-- that had nothing waiting begins so much after that one, so a key that comes and goes gains nothing, and no key with
-- weight 1 waits for more turns of another than that one's weight.
--- @rare
local function share(job)
  local weight = not only_key(job) and condition(job, WEIGHT)
  return math.ceil(27720 / (weight and string.byte(weight) or 1))
end

--- @rare
local function heads_of(type)
  return (in_mode(filing, FAIR) and 'G' or 'g') .. type
end

-- What T says of a key: the tag of its next turn, when that was given, and which type's head stands by it, '' for none.
--- @rare
local function read_tag(said)
  if string.byte(said) == 0 then
    local tag, given = struct.unpack('>I7c6', said, 2)
    return tag, given, string.sub(said, 15)
  end
  local tag, given = string.match(said, '^(%d+) (%d+)$')
  return tonumber(tag), struct.pack('>I6', given), ''
end

-- The tag of a key's next turn, and when it was given.
--- @rare
local function tag_of(k, head)
  local said = redis.call('HGET', key('T'), k)
  if not said then
    local turn = redis.call('HGET', key('q'), 'turn') or 0
    local given = redis.call('HINCRBY', key('q'), 'turns', 1)
    said = struct.pack('>BI7I6', 0, turn + share(load((struct.unpack('>I6', head, 7)))), given)
    redis.call('HSET', key('T'), k, said)
  end
  return read_tag(said)
end

-- When the tag was given by which the head of a row stands in G; `stands` is what t says.
--- @rare
local function given_of(type, k, stands)
  local said = redis.call('HGET', key('T'), k)
  if said then
    local _, given, by = read_tag(said)
    if by == type then return given end
  end
  return string.sub(stands, 2)
end

--- @rare
local function open_head(type, k, head, score)
  if in_mode(filing, FAIR) then
    local tag, given = tag_of(k, head)
    redis.call('ZADD', key('G' .. type), string.format('%d', tag), given .. head)
    redis.call('HSET', key('t' .. k), type, 'O' .. given)
    return
  end
  if tonumber(score) == KEEPS_PLACE then
    score = -load((struct.unpack('>I6', head, 7))).priority  -- first of its key, not of all keys
  end
  redis.call('ZADD', key('g' .. type), score, head)
  redis.call('HSET', key('t' .. k), type, 'o')
end

--- @rare
local function is_open(stands)
  local first = string.sub(stands, 1, 1)
  return first == 'o' or first == 'O'
end

-- levels: of the row, where its head may be the first of any of them (lib/levels).
--- @rare
local function close_head(type, k, head, stands, levels)
  if stands and is_open(stands) then
    local among, given, out = 'g', '', {}
    if stands ~= 'o' then among, given = 'G', given_of(type, k, stands) end
    for i, level in ipairs(levels or {}) do out[i] = given .. level.member end
    redis.call('ZREM', key(among .. type), given .. head, unpack(out))
  elseif stands then
    redis.call('ZREM', key('P'), type .. ':' .. k)
    if redis.call('ZREM', key('p'), type .. ':' .. k) > 0 then stirred.p = true end
  end
end

-- Takes a row out of the heads: until a time, or with none until a place is free. Its head stands there still.
--- @rare
local function park(type, k, head, generation, till)
  local m = type .. ':' .. k
  close_head(type, k, head, redis.call('HGET', key('t' .. k), type))
  redis.call('HSET', key('t' .. k), type, generation)
  redis.call('ZADD', key('P'), generation, m)
  if till then
    redis.call('ZADD', key('p'), string.format('%d', till), m)
    stirred.p = true
  end
end

-- Lets a parked row, or one whose head stands among others, be looked at again.
--- @rare
local function reopen(type, k)
  local head, score, levels = foremost('w' .. type .. ':' .. k)
  local stands = redis.call('HGET', key('t' .. k), type)
  close_head(type, k, head or '', stands, levels)
  if not head then return end
  open_head(type, k, head, score)
  wake = 1
end

-- A row of a key is empty. Its tag is forgotten with the last one: till then it has turns with other types.
--- @rare
local function forget_row(type, k)
  redis.call('HDEL', key('t' .. k), type)
  if redis.call('HLEN', key('t' .. k)) == 0 then redis.call('HDEL', key('T'), k) end
end

-- Brings the heads of all rows that changed in line with them.
--- @rare
local function keep_heads()
  for _, name in ipairs(keyed_rows) do
    local one = keyed_rows[name]
    local now, score = foremost(name)
    local before, type, k = one.before, one.type, one.key
    if before ~= (now or false) or one.score ~= score or one.moved then
      local stands = before and redis.call('HGET', key('t' .. k), type)
      if not now then
        close_head(type, k, before, stands, one.levels)
        forget_row(type, k)
      elseif not stands or is_open(stands) then
        if before then close_head(type, k, before, stands, one.levels) end
        open_head(type, k, now, score)
      end
    end
  end
  for k in pairs(let_go) do
    local types = redis.call('HGETALL', key('t' .. k))
    for i = 1, #types, 2 do
      if not is_open(types[i + 1]) then reopen(types[i], k) end
    end
  end
  keyed_rows, let_go = {}, {}
end
