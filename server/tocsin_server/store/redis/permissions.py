"""At boot: may the user of the store's address do what the store does."""

from __future__ import annotations

from tocsin_server.domain.errors import StoreAway
from tocsin_server.store.interface import StoreUnfit
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.connection.errors import unfit

#: What the store does with keys and with its channel, an example of each. The ACL of docs/redis.md allows these.
COMMANDS = (
    *("PING", "TIME", "EVAL return 1 KEY", "EVALSHA 0 1 KEY"),
    *("GET KEY", "MGET KEY", "SET KEY v", "MSET KEY v", "EXISTS KEY", "UNLINK KEY", "PEXPIRETIME KEY"),
    "RENAME KEY KEY",
    *("GETRANGE KEY 0 1", "SETRANGE KEY 0 v", "SCAN 0"),
    *("HGET KEY f", "HMGET KEY f", "HGETALL KEY", "HKEYS KEY", "HLEN KEY", "HEXISTS KEY f"),
    *("HSET KEY f v", "HSETNX KEY f v", "HINCRBY KEY f 1", "HDEL KEY f"),
    *("SADD KEY m", "SREM KEY m", "SCARD KEY", "SMEMBERS KEY", "SRANDMEMBER KEY 1"),
    *("ZADD KEY 1 m", "ZREM KEY m", "ZCARD KEY", "ZCOUNT KEY 0 1", "ZRANGE KEY 0 1"),
    *("ZRANGEBYLEX KEY - +", "ZRANGEBYSCORE KEY 0 1", "ZREVRANGEBYSCORE KEY 1 0"),
    *("XADD KEY * f v", "XREAD STREAMS KEY 0-0", "XREVRANGE KEY + -", "XTRIM KEY MAXLEN 1"),
    *("PUBLISH CHANNEL m", "SUBSCRIBE CHANNEL", "UNSUBSCRIBE CHANNEL"),
)
_NAMED = 5
_ASK_PERMISSIONS = """#!lua flags=no-writes
local denied = {}
for i = 1, #ARGV do
  local command = {}
  for word in string.gmatch(ARGV[i], '%S+') do
    command[#command + 1] = word
  end
  local known, allowed = pcall(redis.acl_check_cmd, unpack(command))
  if not (known and allowed) then denied[#denied + 1] = command[1] end
end
return denied
"""


async def check_permissions(connection: RedisConnection, key: str, channel: str) -> None:
    """StoreUnfit where the address's user may not do with keys like `key`, and on `channel`, what the store does.

    Without this a missing permission would show itself hours later, in the first call that needs it.
    """
    meant = {"KEY": key, "CHANNEL": channel}
    examples = [" ".join(meant.get(word, word) for word in example.split()) for example in COMMANDS]
    try:
        denied = await connection.execute("EVAL", _ASK_PERMISSIONS, 0, *examples, read_only=True)
    except StoreAway as error:
        raise (unfit(error) or error) from error
    if denied:
        names = ", ".join(name.decode() for name in denied[:_NAMED]) + (", ..." if len(denied) > _NAMED else "")
        raise StoreUnfit(
            f"the store's user may not use {names} on keys like {key} or the channel {channel}: "
            "give it the ACL of docs/redis.md"
        )
