# Runs inside a runner, as the runner, and tries to get out: one line a try, "code <tab> closed|open <tab> what was found".
# Perl, because it is in every Debian and Ubuntu base image (perl-base), so that nothing has to be added to a runner's
# image; and it makes bare system calls. The tries do no harm where they succeed. inside_probe.py says what each is about.
#
# Arguments: name=value. home, socket_dir, model: the runner's paths. pids, nofile, memory: its limits. bytes_<place>: what
# may be written there. reach: host:port of the machine. hidden: a path of the machine, of a neighbour or of an Engine.
# abstract: the name of an abstract Unix socket of the machine. variable: a name that its environment may have.
use strict;
use warnings;
no warnings 'exec';
use Socket;
use POSIX ();
$| = 1;

my %one;
my %all;
for (@ARGV) {
    my ($name, $value) = split /=/, $_, 2;
    $one{$name} = $value;
    push @{ $all{$name} }, $value;
}
my $arch = (POSIX::uname())[4] eq 'aarch64' ? 1 : 0;

sub say_it { my ($code, $closed, $found) = @_; $found =~ s/[\t\n]+/ /g; print "$code\t", $closed ? 'closed' : 'open', "\t$found\n" }

# Refused: not permitted, no such call, or no such family of sockets. Any other answer comes from code that was reached.
sub refused { my $errno = shift; return scalar grep { $errno == $_ } (1, 13, 38, 97) }

sub text_of { my $file = shift; open(my $in, '<', $file) or return ''; local $/; my $text = <$in>; close $in; return $text // '' }

# --- the network

my @interfaces = map { /^\s*(\S+):/ ? $1 : () } split /\n/, text_of('/proc/net/dev');
say_it('network.interfaces', "@interfaces" eq 'lo' || !@interfaces, "@interfaces");
my @routes = grep { !/^Iface/ } split /\n/, text_of('/proc/net/route');
say_it('network.routes', !@routes, @routes ? "@routes" : 'none');

sub reach {
    my ($address, $port) = @_;
    my $packed = inet_aton($address) or return 'no such address';
    socket(my $out, PF_INET, SOCK_STREAM, 0) or return "no socket: $!";
    local $SIG{ALRM} = sub { die "time\n" };
    my $answer = eval { alarm 3; my $ok = connect($out, sockaddr_in($port, $packed)); my $why = "$!"; alarm 0; $ok ? '' : $why };
    alarm 0;
    return defined $answer ? $answer : 'no answer';
}
for my $target ('169.254.169.254:80', @{ $all{reach} || [] }) {
    my ($address, $port) = split /:/, $target;
    my $why = reach($address, $port);
    my $code = $address eq '169.254.169.254' ? 'network.metadata' : 'network.machine';
    say_it($code, $why ne '', $why eq '' ? "connected to $target" : "$target: $why");
}
my @servers = text_of('/etc/resolv.conf') =~ /^nameserver\s+([\d.]+)/mg;
my $told = join ' ', map {
    my $why = '';
    socket(my $out, PF_INET, SOCK_DGRAM, 0) or $why = "$!";
    $why = "$!" if $why eq '' && !send($out, "\0\1\1\0\0\1\0\0\0\0\0\0\7example\3com\0\0\1\0\1", 0, sockaddr_in(53, inet_aton($_)));
    if ($why eq '') { my $in = ''; vec($in, fileno($out), 1) = 1; $why = select($in, undef, undef, 2) && recv($out, my $got, 512, 0) ? '' : 'no answer' }
    $why eq '' ? "$_ answered" : ();
} @servers;
my $known = gethostbyname('example.com');
say_it('network.names', !$known && $told eq '', $known ? 'a name was found' : $told || 'no name is found');
for my $family ([ 'network.vsock', 40, 1, 0 ], [ 'network.packets', 17, 3, 0 ], [ 'network.raw', 2, 3, 1 ], [ 'network.crypto', 38, 5, 0 ], [ 'network.bluetooth', 31, 3, 0 ]) {
    my ($code, @call) = @$family;
    my $got = syscall($arch ? 198 : 41, @call);
    my $errno = $! + 0;
    say_it($code, $got < 0 && refused($errno), $got < 0 ? "$!" : 'a socket was made');
}
for my $name (@{ $all{abstract} || [] }) {
    socket(my $out, PF_UNIX, SOCK_STREAM, 0);
    my $ok = connect($out, pack('S a*', AF_UNIX, "\0$name"));
    say_it('network.abstract', !$ok, $ok ? "connected to \@$name" : "$!");
}

# --- files

my (@strange, %at);
my $usual = qr{^/(?:|proc(?:/.*)?|sys(?:/.*)?|dev(?:/(?:pts|shm|mqueue|console))?|tmp|etc/(?:resolv\.conf|hostname|hosts)|(?:usr/)?s?bin/docker-init)$};
for (split /\n/, text_of('/proc/self/mountinfo')) {
    my @field = split / /;
    my ($options) = / - (.*)$/;
    $at{ $field[4] } = "$field[5] $options";
    push @strange, $field[4] unless $field[4] =~ $usual || grep { $_ eq $field[4] } @one{qw(model socket_dir home)};
}
say_it('files.mounts', !@strange, @strange ? "also @strange" : scalar(keys %at) . ' mounts, each of them expected');
my @written;
for my $directory (qw(/ /etc /usr /usr/local/bin /var /var/tmp /var/lib /opt /root /srv /mnt /run /bin /dev /sys /sys/fs/cgroup /proc), $one{model}) {
    my $file = "$directory/moorage-probe";
    if (open(my $out, '>', $file)) { close $out; unlink $file; push @written, $directory }
}
for my $file (qw(/etc/passwd /etc/hosts /etc/resolv.conf /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/uevent_helper /proc/self/oom_score_adj.none)) {
    if (open(my $out, '+<', $file)) { close $out; push @written, $file }
}
say_it('files.root', !@written, @written ? "written: @written" : 'nothing outside of its scratch space can be written');
my @sockets = grep { -e $_ } qw(/var/run/docker.sock /run/docker.sock /run/containerd/containerd.sock /run/podman/podman.sock /run/crio/crio.sock), @{ $all{engine} || [] };
say_it('files.engine_socket', !@sockets, @sockets ? "there is @sockets" : 'there is none');
my @seen = grep { -e $_ || -l $_ } @{ $all{hidden} || [] };
say_it('files.neighbours', !@seen, @seen ? "seen: @seen" : scalar(@{ $all{hidden} || [] }) . ' paths of the machine and of others, none is there');
opendir(my $dev, '/dev'); my @devices = grep { !/^\.|^(?:console|core|fd|full|mqueue|null|ptmx|pts|random|shm|stderr|stdin|stdout|tty|urandom|zero)$/ } readdir $dev;
@devices = grep { !/^nvidia/ } @devices if $one{devices};
say_it('files.devices', !@devices, @devices ? "also @devices" : 'none but null, zero, random and terminals');

my @places = ([ tmp => '/tmp' ], [ home => $one{home} ], [ shm => '/dev/shm' ], [ socket_dir => $one{socket_dir} ]);
my @ran;
my $program = text_of('/bin/true');
for (@places) {
    my $file = "$_->[1]/moorage-probe";
    next unless open(my $out, '>', $file);
    print $out $program; close $out or do { unlink $file; next };
    chmod 0755, $file;
    push @ran, $_->[1] if system({ $file } $file) == 0;
    unlink $file;
}
say_it('files.programs', !@ran, @ran ? "runs what was written to @ran" : 'what it writes cannot be run');

# --- who it is

my %status = text_of('/proc/self/status') =~ /^(\w+):\s*(.*)$/mg;
my @held = grep { $status{$_} =~ /[^0]/ } grep { exists $status{$_} } qw(CapInh CapPrm CapEff CapBnd CapAmb);
say_it('process.capabilities', !@held, @held ? join(' ', map { "$_ $status{$_}" } @held) : 'none, and none can be had');
say_it('process.privileges', ($status{NoNewPrivs} // '') eq '1', 'NoNewPrivs ' . ($status{NoNewPrivs} // '?'));
say_it('process.system_calls', ($status{Seccomp} // '') eq '2', 'Seccomp ' . ($status{Seccomp} // '?'));
my @groups = grep { $_ != $< } split / /, $(;
say_it('process.user', $< != 0 && $> != 0 && !@groups, "user $<, groups $(");
opendir(my $proc, '/proc'); my @others = grep { /^\d+$/ && $_ != 1 && $_ != $$ } readdir $proc;
say_it('process.neighbours', @others == 0, @others ? scalar(@others) . ' other processes' : 'no process but its own');
my %may = map { $_ => 1 } @{ $all{variable} || [] };
my @variables = grep { !$may{$_} } sort keys %ENV;
@variables = grep { $_ ne 'HOSTNAME' } @variables;    # Docker's own
say_it('process.environment', !@variables, @variables ? "also @variables" : 'the platform\'s variables alone');

# --- the kernel's doors: name, number on x86-64, number on ARM, arguments

my $zeros = "\0" x 256;
my $new_user = 0x10000000;
my @doors = (
    [ unshare_user => 272, 97, $new_user ], [ unshare_network => 272, 97, 0x40000000 ], [ setns => 308, 268, 0, 0 ],
    [ clone_user => 56, 220, $new_user | 17, 0, 0, 0, 0 ],
    [ mount => 165, 40, 'none', '/tmp', 'tmpfs', 0, 0 ], [ umount => 166, 39, '/tmp', 0 ], [ pivot_root => 155, 41, '/', '/tmp' ],
    [ chroot => 161, 51, '/tmp' ], [ fsopen => 430, 430, 'tmpfs', 0 ], [ open_tree => 428, 428, -100, '/', 1 ],
    [ open_by_handle => 304, 265, 0, $zeros, 0 ], [ name_to_handle => 303, 264, -100, '/etc/hosts', $zeros, $zeros, 0 ],
    [ ptrace => 101, 117, 0, 0, 0, 0 ], [ process_read => 310, 270, 1, 0, 0, 0, 0, 0 ], [ kcmp => 312, 272, 1, 1, 0, 0, 0 ],
    [ keyctl => 250, 219, 0, -3, 0 ], [ add_key => 248, 217, 'user', 'moorage', 'x', 1, -2 ],
    [ bpf => 321, 280, 0, $zeros, 72 ], [ perf_event => 298, 241, $zeros, 0, -1, -1, 0 ],
    [ io_uring => 425, 425, 1, $zeros ], [ userfaultfd => 323, 282, 0 ], [ fanotify => 300, 262, 0, 0 ],
    [ load_module => 175, 105, $zeros, 0, '' ], [ kexec => 246, 104, 0, 0, 0, 0 ], [ reboot => 169, 142, 0, 0, 0, 0 ],
    [ swapon => 167, 224, '/tmp/none', 0 ], [ syslog => 103, 116, 3, $zeros, 10 ], [ acct => 163, 89, '/tmp/none' ],
    [ set_hostname => 170, 161, 'x', 1 ], [ set_clock => 227, 112, 0, $zeros ], [ quota => 179, 60, 0, 0, 0, 0 ],
);
for (@doors) {
    my ($name, $intel, $arm, @arguments) = @$_;
    pipe(my $from, my $to);
    my $child = fork();
    if (!defined $child) { say_it("kernel.$name", 0, "no process to try it in: $!"); next }
    if (!$child) {    # In a child: a door that is open changes who goes through it.
        my $got = syscall($arch ? $arm : $intel, @arguments);
        my $errno = $! + 0;
        POSIX::_exit(0) if $name eq 'clone_user' && $got == 0;
        syswrite $to, "$got $errno";
        POSIX::_exit(0);
    }
    close $to;
    my ($got, $errno) = split / /, (<$from> // '0 0');
    waitpid $child, 0;
    local $! = $errno;
    say_it("kernel.$name", $got < 0 && refused($errno), $got < 0 ? "$!" : 'it was done');
}

# --- its limits

my $limits = text_of('/proc/self/limits');
my ($core) = $limits =~ /^Max core file size\s+(\S+)/m;
say_it('limits.core', ($core // '') eq '0', 'core files of ' . ($core // '?') . ' bytes');
my @open;
while (@open < 100_000) { open(my $file, '<', '/dev/null') or last; push @open, $file }
my $most = @open;
@open = ();
say_it('limits.open_files', $most <= $one{nofile}, "$most files opened, then no more");

for (@places) {
    my ($name, $directory) = @$_;
    my $may = $one{"bytes_$name"};
    my $file = "$directory/moorage-fill";
    my ($options) = ($at{$directory} // '') =~ /\bsize=(\d+[kmg]?)/;
    if ($may > $one{memory} * 0.7) {    # Memory would end first: what the mount says has to do.
        say_it("limits.space_$name", defined $options, defined $options ? "a mount of size $options" : 'a mount without a size');
        next;
    }
    my ($written, $out) = (0);
    if (!open($out, '>', $file)) { say_it("limits.space_$name", 1, "cannot be written: $!"); next }
    my $block = "\1" x 65536;
    while ($written <= $may) { my $count = syswrite($out, $block); last unless $count; $written += $count }
    my $why = "$!";
    close $out; unlink $file;
    say_it("limits.space_$name", $written <= $may, $written <= $may ? "$written bytes, then: $why" : "more than $may bytes");
}
my $names = 0;
while ($names < 5000) { open(my $out, '>', "$one{socket_dir}/n$names") or last; close $out; $names++ }
unlink map { "$one{socket_dir}/n$_" } 0 .. $names;
say_it('limits.names_socket_dir', $names < 5000, "$names names, then no more");

# The fork bomb comes last. It holds until the machine has looked at its neighbours.
pipe(my $hold, my $release);
my @children;
while (@children < $one{pids} + 1000) {
    my $child = fork();
    last unless defined $child;
    if (!$child) { close $release; sysread $hold, my $end, 1; POSIX::_exit(0) }
    push @children, $child;
}
my $why = "$!";
my $count = @children;
say_it('limits.processes', $count < $one{pids}, $count < $one{pids} ? "$count children, then: $why" : "$count children and more");
sleep($one{hold} || 0);
close $release;
waitpid $_, 0 for @children;
print "done\n";
