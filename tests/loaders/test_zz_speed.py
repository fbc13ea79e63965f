import time, asyncio
from datetime import datetime
from database_driving import *
N=200_000; B=50_000
def frame():
    return pl.DataFrame({"id":range(N),"name":[f"name {i}" for i in range(N)],"x":[i/7 for i in range(N)],"ok":[i%2==0 for i in range(N)],"at":pl.Series(range(N)).cast(pl.Datetime("us")),"city":["Zürich"]*N, "n": [None if i%10==0 else i for i in range(N)]})
T="(id INT PRIMARY KEY, name VARCHAR(50), x DOUBLE, ok BOOL, at DATETIME(6), city VARCHAR(50), n BIGINT)"
async def test_speed(mariadb_url):
    f=frame(); rows=f.rows()
    dicts=f.to_dicts()
    execute(mariadb_url, f"CREATE TABLE t {T}", f"CREATE TABLE u {T}")
    for rounds in range(2):
        with closing(connected(mariadb_url)) as c:
            c.autocommit(False); t0=time.perf_counter(); c0=time.process_time()
            for i in range(0,N,B):
                with c.cursor() as cur: cur.executemany("INSERT INTO u VALUES (%s,%s,%s,%s,%s,%s,%s)", rows[i:i+B])
                c.commit()
            plain=time.perf_counter()-t0; plainc=time.process_time()-c0
        res=[]
        for name,data in (("frame",[f[i:i+B] for i in range(0,N,B)]),("rows",[dicts[i:i+B] for i in range(0,N,B)])):
            execute(mariadb_url,"TRUNCATE t")
            ctx=context(run_id=f"r{rounds}{name}", fence=rounds*2+(name=="rows")+1)
            w=await loader(mariadb_url).open(ctx)
            t0=time.perf_counter(); c0=time.process_time()
            for n,b in enumerate(data,1): await put(w,ctx,b,n)
            await w.finish(); await w.close()
            res.append((name,round(N/(time.perf_counter()-t0)), round(time.process_time()-c0,2)))
        execute(mariadb_url,"TRUNCATE u")
        print("executemany",round(N/plain), round(plainc,2), res)
    ctx=context(run_id="up", fence=50)
    w=await loader(mariadb_url,write_method="upsert",primary_key="id").open(ctx)
    t0=time.perf_counter()
    for n,i in enumerate(range(0,N,B),1): await put(w,ctx,f[i:i+B],n)
    await w.finish(); await w.close()
    print("upsert existing", round(N/(time.perf_counter()-t0)))
    for m in ("update","replace"):
        ctx=context(run_id=m, fence=60 if m=="update" else 70)
        w=await loader(mariadb_url,write_method=m,primary_key="id").open(ctx)
        t0=time.perf_counter()
        for n,i in enumerate(range(0,N,B),1): await put(w,ctx,f[i:i+B],n)
        await w.finish(); await w.close()
        print(m, round(N/(time.perf_counter()-t0)))
