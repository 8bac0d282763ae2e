//! Mounts, loop devices and their end: whatever is made here goes when it is dropped, and when the process dies too.

use std::collections::HashSet;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fuser::{BackgroundSession, Config, MountOption, Notifier, Session};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::server::Recording;

/// How long an unmounted file system is given to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the recording file system cannot be used here; `Ok` if it can.
///
/// # Errors
/// In words.
pub fn needs_fuse() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("mounting needs root".to_string());
    }
    match std::fs::File::options().read(true).write(true).open("/dev/fuse") {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("/dev/fuse: {error}")),
    }
}

/// Why loop devices cannot be used here.
///
/// # Errors
/// In words.
pub fn needs_loop() -> Result<(), String> {
    needs_fuse()?;
    if !Path::new("/dev/loop-control").exists() {
        return Err("there are no loop devices".to_string());
    }
    has_command("losetup")
}

/// Whether a command can be started.
///
/// # Errors
/// It cannot.
pub fn has_command(name: &str) -> Result<(), String> {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    match std::env::split_paths(&dirs).chain(system).any(|dir| dir.join(name).is_file()) {
        true => Ok(()),
        false => Err(format!("{name} is not installed")),
    }
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be started, or fails: with what it said.
pub fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// A process that unmounts and detaches what this one has left when it dies before it could.
#[derive(Debug)]
pub struct Janitor {
    shell: Child,
    noted: HashSet<PathBuf>,
}

/// Reads kinds and paths until its input ends, and then clears them up, the newest first. By path and by backing file,
/// so that nothing of anybody else's can be meant.
const SWEEP: &str = r#"
list=
while read -r kind what; do list="$kind $what
$list"; done
printf '%s' "$list" | while read -r kind what; do
    case $kind in
    mount) umount -l "$what" ;;
    loop) losetup -j "$what" | cut -d: -f1 | while read -r device; do losetup -d "$device"; done ;;
    esac
done
# A command that outlived the harness may have attached one more.
sleep 1
printf '%s' "$list" | while read -r kind what; do
    [ "$kind" = loop ] && losetup -j "$what" | cut -d: -f1 | while read -r device; do losetup -d "$device"; done
done
"#;

impl Janitor {
    /// Starts one.
    ///
    /// # Errors
    /// There is no shell.
    pub fn start() -> io::Result<Janitor> {
        let mut command = Command::new("sh");
        command.args(["-c", SWEEP]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Out of reach of what ends this process by the terminal.
        command.process_group(0);
        Ok(Janitor { shell: command.spawn()?, noted: HashSet::new() })
    }

    fn note(&mut self, kind: &str, path: &Path) -> io::Result<()> {
        if !self.noted.insert(path.to_path_buf()) {
            return Ok(());
        }
        let input = self.shell.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(input, "{kind} {}", path.display())
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // It cleans what is left, if anything.
        let _ = self.shell.wait();
    }
}

/// The recording file system, mounted.
#[derive(Debug)]
pub struct Mounted {
    path: PathBuf,
    session: Option<BackgroundSession>,
}

impl Mounted {
    /// Mounts it at a new directory.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new(recording: &Recording, path: &Path, janitor: &mut Janitor) -> io::Result<Mounted> {
        std::fs::create_dir_all(path)?;
        janitor.note("mount", path)?;
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("maple-recording".to_string()), MountOption::NoAtime];
        let session = Session::new(recording.server(), path, &config)?.spawn()?;
        Ok(Mounted { path: path.to_path_buf(), session: Some(session) })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// By which the kernel is told to forget what it has cached.
    pub fn notifier(&self) -> Option<Notifier> {
        self.session.as_ref().map(BackgroundSession::notifier)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        // Lazily: then it goes from the tree of files whoever holds it, and ends with its last holder.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let deadline = Instant::now() + PATIENCE;
        while !session.guard.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(200));
        }
        if session.guard.is_finished() {
            // How it ended is of no interest any more.
            let _ = session.join();
            let _ = std::fs::remove_dir(&self.path);
        }
        // Else it is left to end with the process, rather than waited for without end.
    }
}

/// A loop device over a file.
#[derive(Debug)]
pub struct Loop {
    device: PathBuf,
}

impl Loop {
    /// Attaches one, with sectors of `sector_bytes`.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new(file: &Path, sector_bytes: u32, janitor: &mut Janitor) -> Result<Loop, String> {
        janitor.note("loop", file).map_err(|error| error.to_string())?;
        let sector = sector_bytes.to_string();
        let mut command = Command::new("losetup");
        command.args(["--find", "--show", "--sector-size", &sector]).arg(file);
        // Another process may take the device that was found free.
        let mut said = run(&mut command);
        for _ in 0..20 {
            if said.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
            said = run(&mut command);
        }
        Ok(Loop { device: PathBuf::from(said?.trim()) })
    }

    /// Its path.
    pub fn device(&self) -> &Path {
        &self.device
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // A device that is still mounted goes with its mount.
        let _ = run(Command::new("losetup").arg("-d").arg(&self.device));
    }
}

/// A file system of the kernel's own, mounted.
#[derive(Debug)]
pub struct Tree {
    path: PathBuf,
    is_mounted: bool,
}

impl Tree {
    /// Mounts `device` at a new directory.
    ///
    /// # Errors
    /// The file system refuses it.
    pub fn new(
        device: &Path,
        path: &Path,
        kind: &str,
        options: &str,
        janitor: &mut Janitor,
    ) -> io::Result<Tree> {
        std::fs::create_dir_all(path)?;
        janitor.note("mount", path)?;
        let flags = MsFlags::MS_NOATIME | MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
        mount(Some(device), path, Some(kind), flags, Some(options))?;
        Ok(Tree { path: path.to_path_buf(), is_mounted: true })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unmounts it.
    ///
    /// # Errors
    /// Somebody uses it.
    pub fn unmount(mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match umount2(&self.path, MntFlags::empty()) {
                Ok(()) => break,
                Err(nix::errno::Errno::EBUSY) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.is_mounted = false;
        std::fs::remove_dir(&self.path)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = umount2(&self.path, MntFlags::MNT_DETACH);
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}
