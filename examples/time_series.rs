//! A time series with fixed records: readings of sensors by time, read in place.
//!
//! The key is (sensor, time), so the readings of a sensor lie together in order of time, and a window of time is one range. The
//! value is a plain record: it is read where it lies in the file, without a copy and without decoding.
//!
//! ```sh
//! cargo run --release --package mapledb-examples --bin time_series -- 100000
//! ```

use std::time::Instant;

use bytemuck::{Pod as Plain, Zeroable};
use mapledb::{Env, Pod, ReadTable, Result, Table};

/// What a sensor says. The fields leave no gaps, as a plain record must not.
#[derive(Clone, Copy, Debug, PartialEq, Plain, Zeroable)]
#[repr(C)]
struct Reading {
    celsius: f32,
    humidity: f32,
    battery_millivolts: u32,
    flags: u32,
}

type SensorTime = (u32, i64); // a sensor, and seconds since 1970
type Readings<'t> = ReadTable<'t, SensorTime, Pod<Reading>>;

const READINGS: Table<'static, SensorTime, Pod<Reading>> = Table::new("readings");
const HOURLY: Table<'static, SensorTime, f32> = Table::new("hourly means");

const SENSORS: u32 = 4;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const START: i64 = 1_700_000_000 / HOUR * HOUR;

fn main() -> Result<()> {
    let minutes: i64 =
        std::env::args().nth(1).map_or(10_000, |text| text.parse().expect("a number of minutes"));
    let dir = tempfile::tempdir().expect("a directory");
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    #[allow(unsafe_code)]
    let env = unsafe { Env::options().create(dir.path().join("readings.maple")) }?;

    let began = Instant::now();
    record(&env, minutes)?;
    println!("{} readings stored in {:?}", i64::from(SENSORS) * minutes, began.elapsed());

    let txn = env.read()?;
    let readings = txn.table(&READINGS)?;
    let now = START + (minutes - 1) * MINUTE;
    let (at, latest) = latest(&readings, 2, now + 7)?.expect("sensor 2 has readings");
    assert_eq!(at, now);
    println!("sensor 2 says {:.1} °C, {} mV", latest.celsius, latest.battery_millivolts);

    let day = now - 24 * HOUR;
    let in_window = readings.count(&(2, day)..&(2, now))?; // two descents, whatever it holds
    let mean = mean(&readings, 2, day, now)?.expect("there are readings");
    println!("{in_window} readings of its last day, {mean:.2} °C on average");
    drop(txn);

    let hours = downsample(&env, minutes)?;
    let gone = forget_before(&env, day)?;
    println!("{hours} hourly means kept, {gone} readings older than a day taken out");
    assert!(env.check(|_| {})?.is_clean());
    env.close()
}

/// Stores readings of all sensors, a batch of minutes a commit. They come in order of time, as from real sensors.
fn record(env: &Env, minutes: i64) -> Result<()> {
    for batch in (0..minutes).step_by(1000) {
        let mut txn = env.write()?;
        let mut readings = txn.open_table(&READINGS)?;
        for minute in batch..minutes.min(batch + 1000) {
            for sensor in 0..SENSORS {
                readings.put(&(sensor, START + minute * MINUTE), &Pod(measured(sensor, minute)))?;
            }
        }
        txn.commit()?;
    }
    Ok(())
}

fn measured(sensor: u32, minute: i64) -> Reading {
    let day = minute as f32 / (24.0 * 60.0) * std::f32::consts::TAU;
    Reading {
        celsius: 12.0 + sensor as f32 + 6.0 * day.sin(),
        humidity: 0.6 - 0.2 * day.sin(),
        battery_millivolts: 3300 - (minute / 1000) as u32,
        flags: 0,
    }
}

/// The last reading of a sensor at or before a time.
fn latest<'t>(readings: &Readings<'t>, sensor: u32, time: i64) -> Result<Option<(i64, &'t Reading)>> {
    let entry = readings.floor(&(sensor, time))?;
    Ok(entry.filter(|((of, _), _)| *of == sensor).map(|((_, at), reading)| (at, reading)))
}

/// The mean temperature of a sensor from one time up to another.
fn mean(readings: &Readings<'_>, sensor: u32, from: i64, until: i64) -> Result<Option<f32>> {
    let (mut sum, mut count) = (0.0, 0);
    for entry in readings.range(&(sensor, from)..&(sensor, until))? {
        let (_, reading) = entry?; // `reading` is a `&Reading` into the file
        sum += f64::from(reading.celsius);
        count += 1;
    }
    Ok((count > 0).then(|| (sum / f64::from(count)) as f32))
}

/// Keeps a mean for each hour; answers how many.
fn downsample(env: &Env, minutes: i64) -> Result<u64> {
    let reader = env.read()?; // a snapshot: new readings may come meanwhile
    let readings = reader.table(&READINGS)?;
    let mut txn = env.write()?;
    let mut hourly = txn.open_table(&HOURLY)?;
    for sensor in 0..SENSORS {
        for hour in (START..START + minutes * MINUTE).step_by(HOUR as usize) {
            if let Some(mean) = mean(&readings, sensor, hour, hour + HOUR)? {
                hourly.append(&(sensor, hour), &mean)?;
            }
        }
    }
    let kept = hourly.len();
    txn.commit()?;
    Ok(kept)
}

/// Takes out what is older than a time: a range for each sensor, cut out by whole subtrees.
fn forget_before(env: &Env, time: i64) -> Result<u64> {
    let mut txn = env.write()?;
    let mut readings = txn.open_table(&READINGS)?;
    let mut gone = 0;
    for sensor in 0..SENSORS {
        gone += readings.delete_range(&(sensor, i64::MIN)..&(sensor, time))?;
    }
    txn.commit()?;
    Ok(gone)
}
